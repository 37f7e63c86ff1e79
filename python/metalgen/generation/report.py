"""What a run tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from metalgen.generation.result import AttemptRecord, Stopped
from metalgen.problem import Problem


class Report(Protocol):
    """Called as things happen; the command line shows them, tests and libraries need not."""

    def opened(self, problem: Problem) -> None:
        """The problem could be loaded."""
        ...

    def proposing(self, model: str, attempt: int, attempts: int) -> None:
        """A model is asked for its next candidate."""
        ...

    def step(self, step: str, detail: str) -> None:
        """A candidate's next step begins: compile, reference, launch, compare, time."""
        ...

    def judged(self, record: AttemptRecord) -> None:
        """An attempt has its verdict."""
        ...

    def stopped(self, stopped: Stopped) -> None:
        """A model makes no further attempt."""
        ...


class Silent:
    """Reports nothing."""

    def opened(self, problem: Problem) -> None:
        """Say nothing."""

    def proposing(self, model: str, attempt: int, attempts: int) -> None:
        """Say nothing."""

    def step(self, step: str, detail: str) -> None:
        """Say nothing."""

    def judged(self, record: AttemptRecord) -> None:
        """Say nothing."""

    def stopped(self, stopped: Stopped) -> None:
        """Say nothing."""
