"""`metalgen verify`: judge a kept candidate again, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from metalgen.cli.failure import Status
from metalgen.cli.progress import verdict_text


def verify(
    candidate: Annotated[
        Path,
        typer.Argument(help="A run's folder, a folder with kernels.metal and plan.json, or a file"),
    ],
    problem: Annotated[
        Path | None, typer.Option(help="The problem file. Default: the one in the manifest.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one run of the candidate may take.")
    ] = 30.0,
    aten: Annotated[
        bool,
        typer.Option("--allow-aten/--no-aten", help="Whether the plan may call ATen operators."),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verdict as JSON and nothing else.")
    ] = False,
) -> None:
    """Compile, run, compare and time CANDIDATE against its problem once more."""
    from metalgen.generation import Limits
    from metalgen.generation.evaluator import Evaluator
    from metalgen.generation.kept import problem_of, read_candidate
    from metalgen.generation.loop import default_device
    from metalgen.generation.result import verdict_json
    from metalgen.proposers import Accepted

    kept = read_candidate(candidate)
    path = problem or problem_of(candidate)
    with Evaluator(Limits(launch_s=time_limit), device=default_device()) as evaluator:
        opened = evaluator.open(path)
        evaluation = evaluator.evaluate(opened, kept, allow_aten=aten)
        device = evaluator.device
    verdict, details = evaluation.verdict, dict(evaluation.details or {})
    if as_json:
        print(json.dumps({**verdict_json(verdict), **details, "device": device}, indent=2))
    else:
        print(verdict_text(verdict))
        if isinstance(verdict, Accepted):
            print(f"right on {len(details['cases'])} cases: {', '.join(details['cases'])}")
            for note in verdict.notes:
                print(f"note: {note}")
        print(f"on {device['name']}, {device['host']}, torch {device['torch']}")
    accepted = isinstance(verdict, Accepted)
    raise typer.Exit(Status.OK if accepted else Status.REFUSED)
