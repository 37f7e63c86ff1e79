"""`metalgen runs`: the kept runs, what came of them, and which can be gone on with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from metalgen.runs.listing import Listed


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look, in depth.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a list as JSON.")] = False,
) -> None:
    """List the kept runs below FOLDER."""
    from metalgen.errors import RunError
    from metalgen.runs.listing import find_runs

    found, broken = [], []
    for run in find_runs(folder):
        if isinstance(run, RunError):
            broken.append(str(run))
        else:
            found.append(run)
    if as_json:
        print(json.dumps([*map(_as_json, found), *({"error": text} for text in broken)], indent=2))
        return
    console = Console()
    if found:
        console.print(_table(found))
    if any(not run.is_finished for run in found):
        _say(console, "\nto go on with one that is not finished: metalgen resume RUN")
    for text in broken:
        _say(console, text)
    if not found and not broken:
        _say(console, f"no runs below '{folder}'; metalgen generate and bench keep theirs in runs/")


def _table(found: list[Listed]) -> Table:
    table = Table(show_edge=False)
    for name in ("run", "begun (UTC)", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("models")
    for name in ("solved", "attempts", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in found:
        table.add_row(
            escape(str(run.folder)),
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(run.info.started)),
            "finished" if run.is_finished else f"{run.finished} of {run.jobs} jobs",
            escape(", ".join(run.models)),
            f"{run.accepted} of {run.problems}",
            str(run.attempts),
            "?" if run.cost is None else f"${run.cost:.2f}",
        )
    return table


def _as_json(run: Listed) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "id": run.info.id,
        "started": run.info.started,
        "ended": run.info.ended,
        "command": list(run.info.command),
        "finished": run.is_finished,
        "jobs": run.jobs,
        "finished_jobs": run.finished,
        "problems": run.problems,
        "accepted": run.accepted,
        "models": list(run.models),
        "attempts": run.attempts,
        "cost": run.cost,
    }


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
