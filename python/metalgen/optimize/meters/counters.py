"""Several counters as one meter: what all of them saw, from a step of the coarsest to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

# How long a counter may take to step before a window begins without it.
_PATIENCE_S = 0.5


class Counter(Protocol):
    """Joules that only grow; it steps so often that a window of `window_s` has many steps."""

    @property
    def name(self) -> str:
        """What is counted, for reports."""

    @property
    def window_s(self) -> float:
        """In which its steps do not matter, given that it begins and ends with one."""

    @property
    def is_coarse(self) -> bool:
        """Whether its steps are so long that windows should begin and end with them."""

    def read(self) -> float:
        """Joules since some time."""


@dataclass
class Counters:
    """The sum of some counters, as a meter."""

    counters: Sequence[Counter]
    _before: list[float] = field(default_factory=list)
    _last: float = 0.0

    @property
    def name(self) -> str:
        """All of them."""
        return " + ".join(counter.name for counter in self.counters)

    @property
    def window_s(self) -> float:
        """That of the slowest."""
        return max(counter.window_s for counter in self.counters)

    def begin(self) -> None:
        """Wait for the coarse counter to step, if there is one, and read all."""
        coarse = self._coarse
        if coarse is not None:
            self._last = coarse.read()
            deadline = time.monotonic() + _PATIENCE_S
            while not self.is_at_step() and time.monotonic() < deadline:
                pass
        self._before = [counter.read() for counter in self.counters]

    def is_at_step(self) -> bool:
        """Whether the coarse counter has stepped since it was last looked at."""
        coarse = self._coarse
        if coarse is None:
            return True
        last, self._last = self._last, coarse.read()
        return self._last != last

    def end(self) -> float:
        """Joules of all since `begin`."""
        after = [counter.read() for counter in self.counters]
        return sum(after) - sum(self._before)

    @property
    def _coarse(self) -> Counter | None:
        return next((counter for counter in self.counters if counter.is_coarse), None)
