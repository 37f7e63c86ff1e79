"""`metalgen trace`: where a kept run's time went, for chrome://tracing and ui.perfetto.dev."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def trace(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its run.sqlite.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the trace is written.", dir_okay=False)
    ] = Path("trace.json"),
) -> None:
    """Write the time of RUN as a trace: each model's calls, and what judging them took.

    Open it with ui.perfetto.dev or chrome://tracing.
    """
    from metalgen.files import write_whole
    from metalgen.report.trace import trace_of
    from metalgen.runs import open_run

    with open_run(run) as records:
        found = trace_of(records)
    write_whole(out, json.dumps(found).encode())
    typer.echo(f"{out}: {len(found['traceEvents'])} events")
