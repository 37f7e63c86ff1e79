"""The best of several models on every problem: who wins what, and what that is worth and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metalgen.report.figures import speeds_of
from metalgen.report.outcomes import Column, Outcome, column_of, narrowed


@dataclass(frozen=True, slots=True)
class Share:
    """What one column adds to the best of all.

    `best` is the number of problems on which its candidate is the fastest accepted one, `alone`
    the number that no other column solved; `share` is `best` over all counted problems. `cost` is
    what its attempts on all counted problems cost, None where any of that is not known.
    """

    column: Column
    best: int
    alone: int
    share: float
    cost: float | None


@dataclass(frozen=True, slots=True)
class BestOf:
    """The best of all columns beside the best single one.

    `winners` names the column with the fastest accepted candidate of each solved problem; of equal
    ones the oldest. Geometric means are over all counted problems, failures and candidates slower
    than eager at 1.0 (PyTorch stays): more columns can only make them larger.
    """

    winners: Mapping[str, Column]
    shares: tuple[Share, ...]
    best_single: Column
    geometric_mean: float
    best_single_geometric_mean: float

    @property
    def gain(self) -> float:
        """How many times faster the best of all is than the best single column."""
        return self.geometric_mean / self.best_single_geometric_mean


def best_of(outcomes: Sequence[Outcome], columns: Sequence[Column]) -> BestOf | None:
    """Who wins what; None where there is nothing to compare."""
    if len(columns) < 2 or not outcomes:
        return None
    winners = {o.problem.name: column_of(best) for o in outcomes if (best := o.best) is not None}
    singles = {
        column: _geometric_mean(narrowed(outcomes, column.model, column.context))
        for column in columns
    }
    best_single = max(columns, key=lambda column: singles[column])
    return BestOf(
        winners=winners,
        shares=tuple(_share(outcomes, column, winners) for column in columns),
        best_single=best_single,
        geometric_mean=_geometric_mean(outcomes),
        best_single_geometric_mean=singles[best_single],
    )


def _share(outcomes: Sequence[Outcome], column: Column, winners: Mapping[str, Column]) -> Share:
    best = sum(winner == column for winner in winners.values())
    solvers = [{column_of(a) for a in o.attempts if a.is_accepted} for o in outcomes]
    costs = [a.cost for o in outcomes for a in o.attempts if column_of(a) == column]
    return Share(
        column=column,
        best=best,
        alone=sum(each == {column} for each in solvers),
        share=best / len(outcomes),
        cost=None if None in costs else sum(cost for cost in costs if cost is not None),
    )


def _geometric_mean(outcomes: Sequence[Outcome]) -> float:
    return speeds_of(outcomes).geometric_mean_fallback or 1.0
