"""A window of repeated work whose energy a meter can see, and what one call took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

# Between looks at the clock and the counters: long beside what a look takes, short in a window.
CHUNK_S = 0.02


class EnergyMeter(Protocol):
    """Counts the energy that a machine takes while work is done."""

    @property
    def name(self) -> str:
        """What measures, for reports."""

    @property
    def window_s(self) -> float:
        """How long a window must be for the meter to tell work apart."""

    def begin(self) -> None:
        """Start a window, at a step of the meter where its steps are long."""

    def is_at_step(self) -> bool:
        """Whether the window may end: where steps are long, one has just been counted."""

    def end(self) -> float:
        """Joules since `begin`."""


def joules_per_call(
    meter: EnergyMeter, run: Callable[[], object], wait: Callable[[], object]
) -> float:
    """What one call of `run` takes, over a window; `wait` waits for the device to be done."""
    run()
    wait()
    calls = _calls(run, wait)
    done = 0
    meter.begin()
    started = time.perf_counter()
    while done == 0 or not _is_over(meter, time.perf_counter() - started):
        for _ in range(calls):
            run()
        wait()
        done += calls
    return meter.end() / done


def _is_over(meter: EnergyMeter, seconds: float) -> bool:
    if seconds < meter.window_s:
        return False
    return meter.is_at_step() or seconds > 2 * meter.window_s


def _calls(run: Callable[[], object], wait: Callable[[], object]) -> int:
    """How many fill a chunk."""
    started = time.perf_counter()
    run()
    wait()
    return max(1, round(CHUNK_S / max(time.perf_counter() - started, 1e-6)))
