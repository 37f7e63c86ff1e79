"""A whole run in figures: per column, level and context, with the conditions beside them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metalgen.report.figures import Figures, figures_of
from metalgen.report.outcomes import (
    Column,
    Outcome,
    at_level,
    columns_of,
    controls_of,
    levels_of,
    narrowed,
    outcomes_of,
)
from metalgen.report.swarm import BestOf, best_of
from metalgen.runs import AttemptRow, Job, ProblemRow, RunInfo, RunRecords

_INTERNAL = ("is_nested",)  # settings that say nothing about figures


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of one column, or of the best of several, overall and by level."""

    overall: Figures
    levels: Mapping[int | None, Figures]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in figures.

    `models` holds the best of each model's columns, `contexts` the best of all models with each
    context, `together` the best of all columns.
    """

    info: RunInfo
    problems: tuple[ProblemRow, ...]
    attempts: tuple[AttemptRow, ...]
    outcomes: tuple[Outcome, ...]
    controls: Mapping[str, str | None]
    columns: Mapping[Column, Part]
    together: Part
    models: Mapping[str, Part]
    contexts: Mapping[str, Part]
    swarm: BestOf | None

    @property
    def unopened(self) -> tuple[ProblemRow, ...]:
        """The problems that could not be opened."""
        return tuple(row for row in self.problems if row.failure is not None)

    @property
    def conditions(self) -> dict[str, str]:
        """What belongs beside every figure: device, versions, when, and what was asked for."""
        known = {name.replace("_", " "): _text(v) for name, v in self.info.device.items()}
        timed = dict.fromkeys(a.device for a in self.attempts if a.device)
        started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.info.started))
        conditions = {"device": known.pop("name", ""), **known}
        if timed and set(timed) != {conditions["device"]}:
            conditions["timed on"] = ", ".join(timed)
        conditions["started"] = started
        conditions |= {
            name.replace("_", " "): _text(value)
            for name, value in self.info.settings.items()
            if isinstance(value, str | int | float | list | tuple) and name not in _INTERNAL
        }
        return {name: text for name, text in conditions.items() if text}

    @property
    def asides(self) -> tuple[str, ...]:
        """What a reader has to know about the figures: what they leave out, whether they end."""
        notes = []
        if self.info.ended is None:
            notes.append("the run has not ended: what was not attempted yet counts as not solved")
        if self.controls:
            notes.append(
                f"{_problems(len(self.controls))} left out as controls: a candidate that ignores"
                f" inputs or weights would pass"
            )
        if self.unopened:
            notes.append(f"{_problems(len(self.unopened))} left out that could not be opened")
        return tuple(notes)

    def to_json(self) -> dict[str, Any]:
        """What `metalgen figures --json` prints."""
        return {
            "run": self.info.id,
            "command": list(self.info.command),
            "conditions": self.conditions,
            "asides": list(self.asides),
            "problems": len(self.outcomes),
            "controls": dict(self.controls),
            "unopened": {row.name: row.failure for row in self.unopened},
            "columns": [
                {"model": column.model, "context": column.context, **_part_json(part)}
                for column, part in self.columns.items()
            ],
            "together": _part_json(self.together),
            "contexts": {name: _part_json(part) for name, part in self.contexts.items()},
            "swarm": None if self.swarm is None else _swarm_json(self.swarm),
        }


def summarise(records: RunRecords) -> Summary:
    """Every figure of a run."""
    jobs = [row.job for row in records.jobs()]
    return _summary(records.info, records.problems(), records.attempts(), jobs)


def within(summary: Summary, context: str) -> Summary:
    """The same run as if it had been made with one context alone."""
    attempts = tuple(a for a in summary.attempts if a.context == context)
    jobs = [Job("", column.model, context) for column in summary.columns]
    return _summary(summary.info, summary.problems, attempts, jobs)


def _summary(
    info: RunInfo,
    problems: tuple[ProblemRow, ...],
    attempts: tuple[AttemptRow, ...],
    jobs: Sequence[Job],
) -> Summary:
    outcomes = outcomes_of(problems, attempts)
    columns = columns_of([*jobs, *(attempt.job for attempt in attempts)])
    models = dict.fromkeys(column.model for column in columns)
    contexts = dict.fromkeys(column.context for column in columns)
    return Summary(
        info=info,
        problems=problems,
        attempts=attempts,
        outcomes=tuple(outcomes),
        controls=controls_of(problems, attempts),
        columns={c: part_of(narrowed(outcomes, c.model, c.context)) for c in columns},
        together=part_of(outcomes),
        models={m: part_of(narrowed(outcomes, model=m)) for m in models},
        contexts={c: part_of(narrowed(outcomes, context=c)) for c in contexts},
        swarm=best_of(outcomes, columns),
    )


def part_of(outcomes: Sequence[Outcome]) -> Part:
    """Figures of the outcomes, overall and by level."""
    levels = levels_of(outcomes)
    return Part(
        overall=figures_of(outcomes),
        levels={level: figures_of(at_level(outcomes, level)) for level in levels},
    )


def _part_json(part: Part) -> dict[str, Any]:
    levels = {str(level): each.to_json() for level, each in part.levels.items()}
    return {"overall": part.overall.to_json(), "levels": levels}


def _swarm_json(swarm: BestOf) -> dict[str, Any]:
    return {
        "winners": {problem: str(column) for problem, column in swarm.winners.items()},
        "shares": [
            {
                "model": each.column.model,
                "context": each.column.context,
                "best": each.best,
                "alone": each.alone,
                "share": each.share,
                "cost": each.cost,
            }
            for each in swarm.shares
        ],
        "geometric_mean": swarm.geometric_mean,
        "best_single": str(swarm.best_single),
        "best_single_geometric_mean": swarm.best_single_geometric_mean,
        "gain": swarm.gain,
    }


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _problems(count: int) -> str:
    return "1 problem" if count == 1 else f"{count} problems"
