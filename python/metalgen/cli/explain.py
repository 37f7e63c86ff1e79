"""`metalgen explain`: how a problem's module runs through kernels, or any stage on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def explain(
    problem: Annotated[Path, typer.Argument(help="A PyTorch file in KernelBench's form.")],
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Print graph, loops, metal or plan.")
    ] = None,
    policy: Annotated[str, typer.Option(help="fastest, metal or energy.")] = "fastest",
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="For kernels; the heaviest regions first."),
    ] = None,
    chip: Annotated[
        str | None, typer.Option(help='Choose for a chip, such as "M3 Max", by the cost model.')
    ] = None,
) -> None:
    """Show the regions of a module in eval mode, where each runs and why; or one stage of them.

    The file's code runs in this process: open only files that you trust.
    """
    from metalgen.optimize.report import STAGES

    if stage is not None and stage not in STAGES:
        raise typer.BadParameter(f"--stage {stage!r} is none of {', '.join(STAGES)}")
    from metalgen.optimize import explain as explain_module
    from metalgen.optimize.means import Means
    from metalgen.problem import open_problem

    wanted = Means.of(policy, budget, chip).policy  # first: problem files take long
    loaded = open_problem(problem).load()
    report = explain_module(
        loaded.module.eval(), loaded.inputs, policy=wanted, budget_s=budget, chip=chip
    )
    typer.echo(report if stage is None else report.stage(stage))
