"""`metalgen bench`: models on many problems: a study, kept, with its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalgen.cli import kernelbench_options as selecting
from metalgen.cli import study_options as options
from metalgen.cli.chip_option import ChipName, chip_of


def bench(
    context: typer.Context,
    problems: Annotated[
        Path | None, typer.Argument(help="A folder of problem files, searched in depth.")
    ] = None,
    kernelbench: selecting.KernelBench = None,
    levels: selecting.Levels = None,
    only: selecting.Only = None,
    shapes: selecting.ShapesOption = selecting.ShapesName.AS_IS,
    subset: selecting.SubsetOption = None,
    scale_mib: selecting.ScaleMiB = 64,
    scale_seconds: selecting.ScaleSeconds = 5.0,
    model: Annotated[
        list[str] | None, typer.Option(help="Who writes the kernels; see generate.")
    ] = None,
    swarm: options.Swarm = None,
    share: options.Share = False,
    attempts: options.Attempts = 5,
    rounds: options.Rounds = 0,
    contexts: Annotated[list[str] | None, options.CONTEXT] = None,
    cuda: options.Cuda = None,
    hint_model: options.HintModel = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the run is kept. Default: runs/bench-<folder's name>."),
    ] = None,
    base_url: options.BaseUrl = None,
    time_limit: options.TimeLimit = 30.0,
    aten: options.Aten = True,
    torch_compile: options.TorchCompile = False,
    prompts: options.PromptFolder = None,
    chip: ChipName = None,
    max_cost: options.MaxCost = None,
    max_tokens: options.MaxTokens = None,
    max_seconds: options.MaxSeconds = None,
    jobs: options.Jobs = 1,
    calls: options.Calls = 8,
    scheduler: options.Scheduler = None,
    replay: options.Replayed = None,
    judge_again: options.JudgeAgain = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON and nothing else.")
    ] = False,
) -> None:
    """Run models on every problem and tell how many they solve, and how fast.

    The problems are those below PROBLEMS, or KernelBench's (--kernelbench and what follows it).
    """
    from metalgen.cli.sitting import Sitting, free_folder
    from metalgen.generation import Budget, Means, Settings
    from metalgen.generation.tasks import find_problems

    sitting = Sitting(Means(jobs, calls, scheduler), as_json)
    if replay is not None:
        options.refuse_others(context)
        raise typer.Exit(sitting.replay(replay, out, judge_again))
    place = kernelbench or problems
    if place is None or None not in (kernelbench, problems):
        raise typer.BadParameter("give a folder of PROBLEMS, --kernelbench PATH, or --replay RUN")
    folder = out or free_folder(Path("runs") / f"bench-{place.absolute().stem}")
    version = None
    if kernelbench is None:
        tasks = find_problems(place)
    else:
        tasks, version = selecting.tasks_of(
            kernelbench,
            folder / "problems",
            levels=levels,
            problems=only,
            shapes=shapes,
            subset=subset,
            scale_mib=scale_mib,
            scale_seconds=scale_seconds,
        )
    settings = Settings(
        models=options.models_of(model, swarm),
        contexts=options.contexts_of(contexts, rounds),
        attempts=attempts,
        rounds=rounds,
        share=share,
        allow_aten=aten,
        time_limit=time_limit,
        base_url=base_url,
        prompts=options.text(prompts),
        chip=chip_of(chip),
        cuda=options.text(cuda),
        hint_model=hint_model,
        is_nested=True,
        torch_compile=torch_compile,
        shapes=None if kernelbench is None else shapes.value,
        version=version,
        budget=Budget(max_cost, max_tokens, max_seconds),
    )
    raise typer.Exit(sitting.begin(tasks, settings, folder))
