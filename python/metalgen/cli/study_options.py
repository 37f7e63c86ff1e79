"""Options that generate, bench and resume have in common, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metalgen.cli.chip_option import ChipName, chip_of

if TYPE_CHECKING:
    from metalgen.generation import Means, Settings

Swarm = Annotated[
    str | None,
    typer.Option(help="Several models side by side, the best kept: gpt-5,o3,builtin."),
]
Share = Annotated[
    bool, typer.Option("--share", help="Show every model the best accepted candidate so far.")
]
Attempts = Annotated[int, typer.Option(min=1, help="Attempts of each job until one is accepted.")]
Rounds = Annotated[
    int, typer.Option(min=0, help="After that, rounds in which a faster candidate is asked for.")
]
Contexts = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        help="What models are given besides the problem: plain, cuda, profile or cuda+profile;"
        " several times to try several. Default: plain.",
    ),
]
Cuda = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        help="CUDA implementations, named as the problems. Default: .cu files beside them.",
    ),
]
HintModel = Annotated[
    str | None, typer.Option(help="Who reads profiles. Default: the model that is asked for more.")
]
BaseUrl = Annotated[
    str | None, typer.Option(help="The service's address, in place of OPENAI_BASE_URL.")
]
TorchCompile = Annotated[
    bool,
    typer.Option(
        "--torch-compile", help="Time what torch.compile makes of the module too, where it runs."
    ),
]
TimeLimit = Annotated[
    float, typer.Option(min=0.1, help="Seconds that one run of a candidate may take.")
]
Aten = Annotated[
    bool, typer.Option("--allow-aten/--no-aten", help="Whether plans may call ATen operators.")
]
PromptFolder = Annotated[
    Path | None,
    typer.Option(
        exists=True, file_okay=False, help="Templates in place of metalgen's; see prompt."
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, help="US dollars to spend at most; the last answer may go over it."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(min=0, help="Tokens to use at most; the last answer may go over it."),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(min=0, help="Seconds after which nothing more is asked; what was, is judged."),
]
Jobs = Annotated[
    int,
    typer.Option(min=1, help="Candidates judged at once on this machine; one at a time is timed."),
]
Calls = Annotated[int, typer.Option(min=1, help="Questions to one service at once.")]
Scheduler = Annotated[
    str | None,
    typer.Option(help="A Dask scheduler (tcp://...) whose workers judge; see worker."),
]
Replayed = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        help="Do this kept run again from its answers and verdicts: nothing is asked, nothing"
        " spent. All else but --out and --json is as it was.",
    ),
]
JudgeAgain = Annotated[
    bool,
    typer.Option("--judge-again", help="With --replay: judge and time the candidates here."),
]


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What a study is asked for with, whatever its problems."""

    swarm: Swarm = None
    share: Share = False
    attempts: Attempts = 5
    rounds: Rounds = 0
    contexts: Contexts = None
    cuda: Cuda = None
    hint_model: HintModel = None
    base_url: BaseUrl = None
    time_limit: TimeLimit = 30.0
    aten: Aten = True
    prompts: PromptFolder = None
    chip: ChipName = None
    max_cost: MaxCost = None
    max_tokens: MaxTokens = None
    max_seconds: MaxSeconds = None
    jobs: Jobs = 1
    calls: Calls = 8
    scheduler: Scheduler = None
    replay: Replayed = None
    judge_again: JudgeAgain = False

    def means(self) -> Means:
        """What the study is done with."""
        from metalgen.generation import Means

        return Means(self.jobs, self.calls, self.scheduler)

    def settings(self, models: list[str] | None, **others: Any) -> Settings:
        """How the study is done, with `others` beside what these options say."""
        from metalgen.generation import Budget, Settings

        return Settings(
            models=models_of(models, self.swarm),
            contexts=contexts_of(self.contexts, self.rounds),
            attempts=self.attempts,
            rounds=self.rounds,
            share=self.share,
            allow_aten=self.aten,
            time_limit=self.time_limit,
            base_url=self.base_url,
            prompts=_text(self.prompts),
            chip=chip_of(self.chip),
            cuda=_text(self.cuda),
            hint_model=self.hint_model,
            budget=Budget(self.max_cost, self.max_tokens, self.max_seconds),
            **others,
        )


_WITH_REPLAY = {"replay", "judge_again", "out", "as_json", "jobs", "scheduler"}


def models_of(models: list[str] | None, swarm: str | None) -> tuple[str, ...]:
    """Everybody who is asked: --model and --swarm, or the default."""
    from metalgen.proposers import default_model

    named = [name.strip() for name in (swarm or "").split(",") if name.strip()]
    return tuple([*(models or []), *named] or [default_model()])


def contexts_of(contexts: list[str] | None, rounds: int) -> tuple[str, ...]:
    """The contexts asked for, each once; BadParameter for unknown ones."""
    from metalgen.generation.study import CONTEXTS

    asked = tuple(dict.fromkeys(contexts or ["plain"]))
    for context in asked:
        if context not in CONTEXTS:
            raise typer.BadParameter(
                f"unknown context '{context}'; expected one of {', '.join(CONTEXTS)}"
            )
        if "profile" in context and not rounds:
            raise typer.BadParameter(
                f"context '{context}' profiles accepted candidates: it needs --rounds"
            )
    return asked


def refuse_others(context: typer.Context) -> None:
    """BadParameter where the command line has options that --replay makes pointless."""
    for name in context.params:
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name == "COMMANDLINE"
        if is_given and name not in _WITH_REPLAY:
            raise typer.BadParameter(
                f"--replay does a run again as it was: leave out {name.replace('_', '-')}"
            )


def _text(path: Path | None) -> str | None:
    """A path as it is kept."""
    return None if path is None else str(path)
