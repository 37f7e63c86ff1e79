"""`metalgen generate`: have models write Metal kernels for one problem until one is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalgen.cli.option_groups import with_groups
from metalgen.cli.study_options import StudyOptions, refuse_others


@with_groups
def generate(
    context: typer.Context,
    problem: Annotated[
        Path | None, typer.Argument(help="A problem file in KernelBench's format.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Who writes the kernels, several times for several: builtin, scripted:PATH, or a"
            " model's name at an OpenAI-compatible service. Default: builtin, or where"
            " OPENAI_API_KEY is set OPENAI_MODEL or gpt-6.2-sol."
        ),
    ] = None,
    *,
    study: StudyOptions,
    out: Annotated[
        Path | None, typer.Option(help="Where the run is kept. Default: runs/<problem's name>.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Have models write Metal kernels for PROBLEM until one is right; keep the fastest."""
    from metalgen.cli.sitting import Sitting, free_folder
    from metalgen.generation import Task

    sitting = Sitting(study.means(), as_json)
    if study.replay is not None:
        refuse_others(context)
        raise typer.Exit(sitting.replay(study.replay, out, study.judge_again))
    if problem is None:
        raise typer.BadParameter("Missing argument 'PROBLEM': give a problem file, or --replay")
    settings = study.settings(model)
    folder = out or free_folder(Path("runs") / problem.stem)
    raise typer.Exit(sitting.begin([Task(problem, problem.stem)], settings, folder))
