"""Studies of one problem with given proposers, run for real on a warm evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metalgen.generation import Budget, Means, Result, Settings, Task, begin, conduct
from metalgen.generation.evaluators import LocalEvaluators
from metalgen.generation.loop import result_of
from metalgen.generation.study import named_apart, with_budget
from metalgen.proposers import Proposer
from metalgen.runs import RunStore


def run_study(
    evaluators: LocalEvaluators,
    problem: Path,
    *proposers: Proposer,
    out: Path | None = None,
    budget: Budget | None = None,
    calls: int = 8,
    **settings: Any,
) -> Result:
    """What the proposers' attempts at a problem give."""
    named = named_apart(proposers)
    asked = Settings(models=tuple(named), budget=budget or Budget(), **settings)
    task = Task(problem, problem.stem)
    with begin([task], asked, named, out) as store:
        stopped = conduct(store, asked, named, Means(calls=calls, evaluators=evaluators))
        return result_of(store, task.name, stopped)


def go_on(
    evaluators: LocalEvaluators, folder: Path, *proposers: Proposer, budget: Budget | None = None
) -> Result:
    """What a kept run of one problem gives once it was gone on with."""
    with RunStore.resume(folder) as store:
        settings = with_budget(Settings.from_json(store.info.settings), budget or Budget())
        stopped = conduct(store, settings, named_apart(proposers), Means(evaluators=evaluators))
        return result_of(store, store.problems()[0].name, stopped)
