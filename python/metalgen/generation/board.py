"""What jobs share: of one problem its description and the best so far, of a study its means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metalgen.generation.asking import Asking
from metalgen.generation.evaluators import Evaluators
from metalgen.generation.report import Report
from metalgen.generation.result import AttemptRecord, Best
from metalgen.generation.rows import plan_text
from metalgen.generation.study import Settings
from metalgen.problem import Problem
from metalgen.proposers import Shared
from metalgen.runs import Job


@dataclass
class Board:
    """What all jobs of one problem have in common: its description and the best so far."""

    problem: Problem
    cuda: str | None = None
    on_best: Callable[[Best], None] = lambda best: None
    on_judged: Callable[[AttemptRecord], None] = lambda record: None
    best: Best | None = None

    def consider(self, best: Best) -> None:
        """Take a candidate as the best if it is the fastest so far."""
        if self.best is None or best.verdict.speedup > self.best.verdict.speedup:
            self.best = best
            self.on_best(best)

    def shared_with(self, job: Job) -> Shared | None:
        """The best so far as another job's model is shown it."""
        if self.best is None or _job_of(self.best.record, job.problem) == job:
            return None
        candidate, model = self.best.candidate, self.best.record.model
        return Shared(model, candidate.source, plan_text(candidate), self.best.verdict)


def _job_of(record: AttemptRecord, problem: str) -> Job:
    return Job(problem, record.model, record.context)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all jobs of a study work with."""

    settings: Settings
    asking: Asking
    evaluators: Evaluators
    report: Report
