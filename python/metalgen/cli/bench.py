"""`metalgen bench`: models on many problems: a study, kept, with its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalgen.cli.kernelbench_options import SelectingOptions
from metalgen.cli.option_groups import with_groups
from metalgen.cli.study_options import StudyOptions, TorchCompile, refuse_others


@with_groups
def bench(
    context: typer.Context,
    problems: Annotated[
        Path | None, typer.Argument(help="A folder of problem files, searched in depth.")
    ] = None,
    *,
    selecting: SelectingOptions,
    model: Annotated[
        list[str] | None, typer.Option(help="Who writes the kernels; see generate.")
    ] = None,
    study: StudyOptions,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the run is kept. Default: runs/bench-<folder's name>."),
    ] = None,
    torch_compile: TorchCompile = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON and nothing else.")
    ] = False,
) -> None:
    """Run models on every problem and tell how many they solve, and how fast.

    The problems are those below PROBLEMS, or KernelBench's (--kernelbench and what follows it).
    """
    from metalgen.cli.sitting import Sitting, free_folder
    from metalgen.generation.tasks import find_problems

    sitting = Sitting(study.means(), as_json)
    if study.replay is not None:
        refuse_others(context)
        raise typer.Exit(sitting.replay(study.replay, out, study.judge_again))
    place = selecting.kernelbench or problems
    if place is None or None not in (selecting.kernelbench, problems):
        raise typer.BadParameter("give a folder of PROBLEMS, --kernelbench PATH, or --replay RUN")
    folder = out or free_folder(Path("runs") / f"bench-{place.absolute().stem}")
    version = shapes = None
    if selecting.kernelbench is None:
        tasks = find_problems(place)
    else:
        tasks, version = selecting.tasks(place, folder / "problems")
        shapes = selecting.shapes.value
    settings = study.settings(
        model, is_nested=True, torch_compile=torch_compile, shapes=shapes, version=version
    )
    raise typer.Exit(sitting.begin(tasks, settings, folder))
