"""What a study is: problems × models × contexts, how each job goes about it, what it may spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from metalgen.chips import find_chip
from metalgen.errors import RunError
from metalgen.generation.budget import Budget
from metalgen.proposers import Proposer, make_proposer
from metalgen.proposers.prompts import Prompts
from metalgen.runs import Job

CONTEXTS = ("plain", "cuda", "profile", "cuda+profile")


@dataclass(frozen=True, slots=True)
class Task:
    """A problem file of a study; `name` is its own there, `level` KernelBench's."""

    path: Path
    name: str
    level: int | None = None
    control_reason: str | None = None  # known beforehand: its output ignores what it is given
    notes: tuple[str, ...] = ()  # what was done to it beforehand: other sizes


@dataclass(frozen=True, slots=True)
class Settings:
    """How a study's jobs are done; kept with the run, which is continued in the same way.

    `models` are names as `make_proposer` takes them. `cuda` is a folder of CUDA implementations
    named as the problems are. `hint_model` reads profiles, by default the job's own model.
    `is_nested` gives every problem a folder of its own in the run's.
    """

    models: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ("plain",)
    attempts: int = 5
    rounds: int = 0
    share: bool = False
    allow_aten: bool = True
    time_limit: float = 30.0
    base_url: str | None = None
    prompts: str | None = None
    chip: str | None = None  # the one that prompts describe
    cuda: str | None = None
    hint_model: str | None = None
    device: str | None = None
    is_nested: bool = False
    torch_compile: bool = False  # a baseline besides eager
    shapes: str | None = None  # how the problems' sizes were chosen, where they were
    version: str | None = None  # of the set of problems
    replay_of: str | None = None  # the run whose answers this one repeats
    budget: Budget = field(default_factory=Budget)

    def to_json(self) -> dict[str, Any]:
        """Plain objects, as kept with the run; what was not asked for is left out."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "budget"}
        said = {name: value for name, value in plain.items() if value is not None}
        limits = {name: v for name, v in asdict(self.budget).items() if v is not None}
        return {**said, **({"budget": limits} if limits else {})}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Settings:
        """What `to_json` gave."""
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()
        }
        values["budget"] = Budget(**plain.get("budget", {}))
        try:
            return cls(**values)
        except TypeError as error:
            raise RunError(f"the run's settings are not this metalgen's: {error}") from error


def jobs_of(tasks: Sequence[Task], models: Sequence[str], contexts: Sequence[str]) -> list[Job]:
    """Every job, problem by problem."""
    return [
        Job(task.name, model, context) for task, model, context in product(tasks, models, contexts)
    ]


def proposers_of(settings: Settings) -> dict[str, Proposer]:
    """A study's proposers by distinct names; ProviderError where credentials are missing."""
    words = prompts_of(settings)
    made = [
        make_proposer(model, base_url=settings.base_url, prompts=words) for model in settings.models
    ]
    return named_apart(made)


def prompts_of(settings: Settings) -> Prompts:
    """How a study words its questions."""
    folder = None if settings.prompts is None else Path(settings.prompts)
    return Prompts(folder, None if settings.chip is None else find_chip(settings.chip))


def named_apart(proposers: Sequence[Proposer]) -> dict[str, Proposer]:
    """Proposers by name; of several with the same name the later ones are numbered."""
    named: dict[str, Proposer] = {}
    for proposer in proposers:
        name, count = proposer.name, 1
        while name in named:
            count += 1
            name = f"{proposer.name}#{count}"
        named[name] = proposer
    return named


def with_budget(settings: Settings, budget: Budget) -> Settings:
    """The same study with other limits where `budget` names some."""
    given = {name: value for name, value in asdict(budget).items() if value is not None}
    return replace(settings, budget=replace(settings.budget, **given))
