"""`metalgen generate`: have models write Metal kernels for one problem until one is right."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metalgen.cli.failure import Status
from metalgen.cli.progress import LineReport, LiveReport, verdict_text

if TYPE_CHECKING:
    from metalgen.generation import Result


def generate(
    problem: Annotated[Path, typer.Argument(help="A problem file in KernelBench's format.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Who writes the kernels, several times for several: builtin, scripted:PATH, or a"
            " model's name at an OpenAI-compatible service. Default: builtin, or where"
            " OPENAI_API_KEY is set OPENAI_MODEL or gpt-5."
        ),
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, help="Attempts of each model.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Where the run is kept. Default: runs/<problem's name>.")
    ] = None,
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
    refine: Annotated[
        bool, typer.Option(help="Use all attempts, also after one was accepted, to get faster.")
    ] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Templates in place of metalgen's; see prompt."
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="US dollars to spend at most; the last answer may go over it."),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=0, help="Tokens to use at most; the last answer may go over it."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Have models write Metal kernels for PROBLEM until one is right; keep the fastest."""
    from metalgen.generation import Budget, Limits, Silent
    from metalgen.generation import generate as run
    from metalgen.proposers import default_model

    console = Console(soft_wrap=True)
    live = LiveReport(console) if console.is_terminal and not as_json else None
    report = live or (Silent() if as_json else LineReport(console))
    # The problem file and the libraries below may print; with --json only the result may.
    with redirect_stdout(sys.stderr) if as_json else live or nullcontext():
        result = run(
            problem,
            model or [default_model()],
            attempts,
            out or Path("runs") / problem.stem,
            base_url=base_url,
            allow_aten=aten,
            refine=refine,
            limits=Limits(launch_s=time_limit),
            prompts=prompts,
            budget=Budget(max_cost, max_tokens),
            report=report,
        )
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        _summarise(console, result)
    raise typer.Exit(_exit_code(result))


def _exit_code(result: Result) -> int:
    if result.is_accepted:
        return Status.OK
    if result.stopped and all(each.is_provider_error for each in result.stopped):
        return Status.SERVICE_FAILED
    return Status.REFUSED


def _summarise(console: Console, result: Result) -> None:
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    device = result.device
    line("")
    if result.best is None:
        line(f"no candidate was accepted in {len(result.attempts)} attempts")
    else:
        best = result.best
        line(f"{best.record.model}, attempt {best.record.number}: {verdict_text(best.verdict)}")
        cases = best.record.details.get("cases", [])
        line(f"right on {len(cases)} cases: {', '.join(cases)}")
        if best.verdict.aten_steps:
            line(f"{best.verdict.aten_steps} steps are ATen operators, not kernels")
        for note in best.verdict.notes:
            line(f"note: {note}")
    if not result.spent.is_free:
        line(f"spent {result.spent}")
    line(
        f"measured on {device['name']}, {device['host']}, torch {device['torch']}"
        f" ({device['torch_threads']} threads), Python {device['python']}"
    )
    if result.directory is not None:
        line(f"kept in {result.directory}")
