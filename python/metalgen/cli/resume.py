"""`metalgen resume`: go on with a kept run that was interrupted, killed or stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metalgen.cli import study_options as options

if TYPE_CHECKING:
    from metalgen.generation import Settings


def resume(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its run.sqlite.")],
    base_url: options.BaseUrl = None,
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    max_seconds: options.MaxSeconds = None,
    jobs: options.Jobs = 1,
    calls: options.Calls = 8,
    scheduler: options.Scheduler = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Go on with RUN: what is finished is not done again, what was answered not asked again.

    Everything is done as the run was begun; budgets count what was spent already, and may be
    changed. The time of --max-seconds starts anew.
    """
    from dataclasses import replace

    from metalgen.runs.database import file_of

    file_of(run)  # a wrong path is told of at once: what follows takes seconds to import

    from metalgen.cli.sitting import Sitting
    from metalgen.generation import Budget, Means
    from metalgen.generation.study import with_budget

    def changed(settings: Settings) -> Settings:
        settings = with_budget(settings, Budget(max_cost, max_tokens, max_seconds))
        return settings if base_url is None else replace(settings, base_url=base_url)

    sitting = Sitting(Means(jobs, calls, scheduler), as_json)
    raise typer.Exit(sitting.resume(run, changed))
