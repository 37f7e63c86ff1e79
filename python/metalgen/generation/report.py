"""What a study tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.problem import Problem
from metalgen.runs import AttemptRow, Job


class Report(Protocol):
    """Called as things happen; the command line shows them, tests and libraries need not.

    `step` may come from another thread than the rest.
    """

    def began(self, jobs: Sequence[Job], kept: Sequence[AttemptRow]) -> None:
        """The study's jobs, and in a run that goes on the attempts it has already."""
        ...

    def opened(self, name: str, problem: Problem) -> None:
        """A problem could be loaded."""
        ...

    def failed(self, name: str, reason: str) -> None:
        """A problem cannot be used: its jobs end."""
        ...

    def proposing(self, job: Job, attempt: int, attempts: int) -> None:
        """A model is asked for its next candidate."""
        ...

    def step(self, job: Job, step: str, detail: str) -> None:
        """A candidate's next step begins: compile, reference, launch, compare, time."""
        ...

    def judged(self, job: Job, record: AttemptRecord) -> None:
        """An attempt has its verdict."""
        ...

    def stopped(self, job: Job, stopped: Stopped) -> None:
        """A model makes no further attempt."""
        ...

    def finished(self, job: Job) -> None:
        """A job is done."""
        ...


class Silent:
    """Reports nothing."""

    def began(self, jobs: Sequence[Job], kept: Sequence[AttemptRow]) -> None:
        """Say nothing."""

    def opened(self, name: str, problem: Problem) -> None:
        """Say nothing."""

    def failed(self, name: str, reason: str) -> None:
        """Say nothing."""

    def proposing(self, job: Job, attempt: int, attempts: int) -> None:
        """Say nothing."""

    def step(self, job: Job, step: str, detail: str) -> None:
        """Say nothing."""

    def judged(self, job: Job, record: AttemptRecord) -> None:
        """Say nothing."""

    def stopped(self, job: Job, stopped: Stopped) -> None:
        """Say nothing."""

    def finished(self, job: Job) -> None:
        """Say nothing."""
