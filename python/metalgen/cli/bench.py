"""`metalgen bench`: one model on many problems, as a table."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metalgen.cli.failure import Status
from metalgen.cli.progress import time_text

if TYPE_CHECKING:
    from metalgen.generation.bench import Bench, Row


def bench(
    problems: Annotated[Path, typer.Argument(help="A folder of problem files, searched in depth.")],
    model: Annotated[str | None, typer.Option(help="Who writes the kernels; see generate.")] = None,
    attempts: Annotated[int, typer.Option(min=1, help="Attempts for each problem.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Keep every run below this folder.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The service's address, in place of OPENAI_BASE_URL.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one run of a candidate may take.")
    ] = 30.0,
    aten: Annotated[
        bool,
        typer.Option("--allow-aten/--no-aten", help="Whether plans may call ATen operators."),
    ] = True,
    jobs: Annotated[
        int, typer.Option(min=1, help="Problems at once; more than one disturbs the timing.")
    ] = 1,
    prompts: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Templates in place of metalgen's; see prompt."
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="US dollars for all problems; the last answer may go over it."),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=0, help="Tokens for all problems; the last answer may go over it."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON and nothing else.")
    ] = False,
) -> None:
    """Run MODEL on every problem below PROBLEMS and tell how many it solves, and how fast."""
    from metalgen.generation import Budget, Limits
    from metalgen.generation.bench import Bench, find_problems, run_bench
    from metalgen.proposers import default_model, make_proposer
    from metalgen.proposers.prompts import Prompts

    console = Console()
    rows: list[Row] = []
    proposer = make_proposer(model or default_model(), base_url=base_url, prompts=Prompts(prompts))
    found = find_problems(problems)
    limits = Limits(launch_s=time_limit)
    # The problem files and the libraries below may print; with --json only the result may.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        for row in run_bench(
            found,
            proposer,
            attempts=attempts,
            allow_aten=aten,
            jobs=jobs,
            limits=limits,
            out=out,
            budget=Budget(max_cost, max_tokens),
        ):
            rows.append(row)
            if not as_json:
                _show(console, row, len(rows), len(found))
    result = Bench(proposer.name, tuple(rows), measured_on())
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        _summarise(console, result)
    solved = any(row.is_accepted for row in result.counted)
    raise typer.Exit(Status.OK if solved else Status.REFUSED)


def measured_on() -> dict[str, str]:
    """The device and versions that belong to the figures."""
    import platform

    import torch

    from metalgen.device import available

    return {
        "name": available()[0].name,
        "host": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "torch_threads": str(torch.get_num_threads()),
    }


def _show(console: Console, row: Row, number: int, count: int) -> None:
    outcome = f"{row.speedup:.2f}x eager" if row.speedup is not None else f"{row.reason}"
    text = f"[{number}/{count}] {row.problem}: {outcome} ({row.seconds:.1f} s)"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _summarise(console: Console, result: Bench) -> None:
    from metalgen.generation.bench import FAST_P

    console.print(_table(result))
    counted = result.counted
    accepted = sum(row.is_accepted for row in counted)
    fast = ", ".join(f"fast_{p:g} {result.fast(p):.2f}" for p in FAST_P)
    lines = [
        f"{result.model}: accepted {accepted} of {len(counted)},"
        f" geometric mean {result.geometric_mean:.2f}x (failures at 1.0)",
        fast,
        f"on {result.device['name']}, {result.device['host']}, torch {result.device['torch']}"
        f" ({result.device['torch_threads']} threads)",
    ]
    if not result.spent.is_free:
        lines.append(f"spent {result.spent}")
    if controls := len(result.rows) - len(counted):
        lines.append(f"{controls} controls (outputs that ignore the inputs) are not counted")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(result: Bench) -> Table:
    table = Table(show_edge=False)
    table.add_column("problem", overflow="fold")
    table.add_column("accepted")
    for name in ("attempts", "candidate", "eager", "speed"):
        table.add_column(name, justify="right")
    for row in result.rows:
        if row.candidate_us is None or row.eager_us is None or row.speedup is None:
            table.add_row(escape(row.problem), "no", str(row.attempts), "", "", "")
            continue
        table.add_row(
            escape(row.problem),
            "control" if row.is_control else "yes",
            str(row.attempts),
            time_text(row.candidate_us),
            time_text(row.eager_us),
            f"{row.speedup:.2f}x",
        )
    return table
