"""`metalgen report`: a kept run as one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its run.sqlite.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the page is written.", dir_okay=False)
    ] = Path("report.html"),
) -> None:
    """Write RUN as one HTML page: charts, figures, and every problem with all its attempts.

    The page holds everything it shows; it opens from disk, without a network. The run may be going
    on meanwhile.
    """
    from metalgen.files import write_whole
    from metalgen.report.page import render
    from metalgen.runs import open_run

    with open_run(run) as records:
        page = render(records)
    write_whole(out, page.encode())
    typer.echo(f"{out}: {len(page.encode()) / 1e6:.1f} MB, opens in any browser")
