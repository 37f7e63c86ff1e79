"""From attempts to outcomes: what each model, or all together, made of each problem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metalgen.runs import AttemptRow, Job, ProblemRow


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """A model with a context: one way to go about every problem of a run."""

    model: str
    context: str = "plain"

    def __str__(self) -> str:
        return self.model if self.context == "plain" else f"{self.model} + {self.context}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one problem: all attempts, of one column or of several, oldest first."""

    problem: ProblemRow
    attempts: tuple[AttemptRow, ...]

    @property
    def best(self) -> AttemptRow | None:
        """The accepted attempt with the largest speedup over eager, the oldest among equals."""
        accepted = [attempt for attempt in self.attempts if attempt.is_accepted]
        return max(accepted, key=lambda attempt: attempt.speedup or 0.0, default=None)

    @property
    def is_solved(self) -> bool:
        """Whether any candidate was accepted."""
        return self.best is not None

    @property
    def first_accepted(self) -> int | None:
        """The number of the first accepted attempt of the functional phase, from 1."""
        numbers = (a.number for a in self.attempts if a.is_accepted and a.phase == "functional")
        return min(numbers, default=None)


def column_of(row: AttemptRow | Job) -> Column:
    """Whose attempt or job it is."""
    return Column(row.model, row.context)


def columns_of(jobs: Iterable[Job]) -> tuple[Column, ...]:
    """The columns of a run, in the order in which they first appear."""
    return tuple(dict.fromkeys(map(column_of, jobs)))


def controls_of(
    problems: Iterable[ProblemRow], attempts: Iterable[AttemptRow]
) -> dict[str, str | None]:
    """The problems whose answer proves nothing, by name, with the reason where it is known."""
    found = {row.name: row.control_reason for row in problems if row.is_control}
    for attempt in attempts:
        if attempt.is_control:  # some are found out only when a candidate is accepted
            found.setdefault(attempt.problem, None)
    return found


def outcomes_of(problems: Iterable[ProblemRow], attempts: Sequence[AttemptRow]) -> list[Outcome]:
    """An outcome for each problem that counts: neither controls nor such that could not be opened.

    A problem without attempts has an outcome too: it is not solved.
    """
    problems = tuple(problems)
    controls = controls_of(problems, attempts)
    by_problem: dict[str, list[AttemptRow]] = {}
    for attempt in attempts:
        by_problem.setdefault(attempt.problem, []).append(attempt)
    return [
        Outcome(row, tuple(by_problem.get(row.name, ())))
        for row in problems
        if row.failure is None and row.name not in controls
    ]


def narrowed(
    outcomes: Iterable[Outcome], model: str | None = None, context: str | None = None
) -> list[Outcome]:
    """The same problems' outcomes with one model's attempts alone, or with one context's."""

    def belongs(attempt: AttemptRow) -> bool:
        return model in (None, attempt.model) and context in (None, attempt.context)

    return [Outcome(o.problem, tuple(filter(belongs, o.attempts))) for o in outcomes]


def levels_of(outcomes: Iterable[Outcome]) -> tuple[int | None, ...]:
    """The levels that occur, lowest first; None, for problems without one, last."""
    found = {outcome.problem.level for outcome in outcomes}
    return tuple(sorted(found, key=lambda level: (level is None, level or 0)))


def at_level(outcomes: Iterable[Outcome], level: int | None) -> list[Outcome]:
    """The outcomes of one level's problems."""
    return [outcome for outcome in outcomes if outcome.problem.level == level]
