"""How long a model's kernels may take to make, check and race: whoever calls it is waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Named = TypeVar("Named", bound=Hashable)


@dataclass
class Budget:
    """Seconds for all graphs of a model; None: no limit. What has begun is brought to its end."""

    limit_s: float | None = None
    clock: Callable[[], float] = time.perf_counter
    _spent_s: float = 0.0
    _since: float | None = None  # of what runs now

    @property
    def spent_s(self) -> float:
        """What was used, until now."""
        return self._spent_s + (0.0 if self._since is None else self.clock() - self._since)

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may begin."""
        return self.limit_s is not None and self.spent_s >= self.limit_s

    @property
    def reason(self) -> str:
        """Why something was not done."""
        return f"the budget of {self.limit_s:g} s was spent on heavier regions"

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What runs inside counts; only one thread at a time, and not inside of itself."""
        self._since = self.clock()
        try:
            yield
        finally:
            self._spent_s, self._since = self.spent_s, None


def waves(times: Mapping[Named, float]) -> Iterator[list[Named]]:
    """The heaviest first, in portions of half of the time that is left.

    What a graph hands from operator to operator is gone after a pass through it, so that a pass can
    only go in its order; a wave is what one pass settles. There are about as many as doublings.
    """
    left = sorted(times, key=lambda name: -times[name])
    while left:
        half = sum(times[name] for name in left) / 2
        wave = [left.pop(0)]
        while left and sum(times[name] for name in wave) < half:
            wave.append(left.pop(0))
        yield wave
