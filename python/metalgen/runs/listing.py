"""The runs below a folder, each in a few figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metalgen.errors import RunError
from metalgen.runs.database import FILE
from metalgen.runs.reading import open_run
from metalgen.runs.records import RunInfo


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as a list shows it; `accepted` counts problems, `cost` is None where not known."""

    folder: Path
    info: RunInfo
    problems: int
    accepted: int
    models: tuple[str, ...]
    jobs: int
    finished: int
    attempts: int
    cost: float | None

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.finished == self.jobs


def find_runs(folder: Path) -> Iterator[Listed | RunError]:
    """Every run below `folder`, by path; in place of one that cannot be read, the reason."""
    for file in sorted(folder.rglob(FILE)):
        try:
            yield _listed(file)
        except RunError as error:
            yield error


def _listed(file: Path) -> Listed:
    with open_run(file) as run:
        jobs = run.jobs()
        attempts = run.attempts()
        costs = [call.cost for call in run.calls() if call.reply is not None]
        known = [cost for cost in costs if cost is not None]
        return Listed(
            folder=file.parent,
            info=run.info,
            problems=len(run.problems()),
            accepted=len({attempt.problem for attempt in attempts if attempt.is_accepted}),
            models=tuple(dict.fromkeys(row.job.model for row in jobs)),
            jobs=len(jobs),
            finished=Counter(row.state for row in jobs)["finished"],
            attempts=len(attempts),
            cost=sum(known) if len(known) == len(costs) else None,
        )
