"""`metalgen generate`: have models write Metal kernels for one problem until one is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalgen.cli import study_options as options
from metalgen.cli.chip_option import ChipName, chip_of


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
    swarm: options.Swarm = None,
    share: options.Share = False,
    attempts: options.Attempts = 5,
    rounds: options.Rounds = 0,
    contexts: Annotated[list[str] | None, options.CONTEXT] = None,
    cuda: options.Cuda = None,
    hint_model: options.HintModel = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the run is kept. Default: runs/<problem's name>.")
    ] = None,
    base_url: options.BaseUrl = None,
    time_limit: options.TimeLimit = 30.0,
    aten: options.Aten = True,
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
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.")
    ] = False,
) -> None:
    """Have models write Metal kernels for PROBLEM until one is right; keep the fastest."""
    from metalgen.cli.sitting import Sitting, free_folder
    from metalgen.generation import Budget, Means, Settings, Task

    sitting = Sitting(Means(jobs, calls, scheduler), as_json)
    if replay is not None:
        options.refuse_others(context)
        raise typer.Exit(sitting.replay(replay, out, judge_again))
    if problem is None:
        raise typer.BadParameter("Missing argument 'PROBLEM': give a problem file, or --replay")
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
        budget=Budget(max_cost, max_tokens, max_seconds),
    )
    folder = out or free_folder(Path("runs") / problem.stem)
    raise typer.Exit(sitting.begin([Task(problem, problem.stem)], settings, folder))
