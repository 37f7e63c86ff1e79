"""How fast a verified candidate is beside PyTorch: same inputs, same device, taking turns.

Eager is always measured, torch.compile's default backend where that is asked for and runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from metalgen.device import synchronize

# Enough to see the spread; a slow candidate is timed less often rather than not at all.
BUDGET_S = 4.0
MAX_REPETITIONS = 50
MIN_REPETITIONS = 3


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians and quartiles in microseconds, and what they were measured with."""

    candidate_us: float
    candidate_quartiles_us: tuple[float, float]
    eager_us: float
    eager_quartiles_us: tuple[float, float]
    repetitions: int
    torch_threads: int
    compiled_us: float | None = None  # torch.compile, with as many threads as eager

    def to_json(self) -> dict[str, Any]:
        """Plain objects."""
        return asdict(self)


def measure(
    candidate: Callable[[], object],
    eager: Callable[[], object],
    device: torch.device,
    compiled: Callable[[], object] | None = None,
) -> Timing:
    """Time both in alternation after warming up; each call waits until its result is there.

    `compiled` is torch.compile's, run once already. Eager runs on one thread or on all, whichever
    is faster: small work is, and on a machine that is busy with something else threads wait for
    one another longer than they compute.
    """
    all_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(_best_threads(eager, device, all_threads))
        timing = _measure(candidate, eager, device)
        if compiled is None:
            return timing
        return replace(timing, compiled_us=_median_us(compiled, device))
    finally:
        torch.set_num_threads(all_threads)


def _best_threads(eager: Callable[[], object], device: torch.device, most: int) -> int:
    """The number of threads, 1 or `most`, with which eager's median is smaller."""
    medians: dict[int, float] = {}
    for threads in (most, 1):
        torch.set_num_threads(threads)
        first = _seconds(eager, device)
        tries = 7 if first < BUDGET_S / 50 else 1
        medians[threads] = statistics.median(_seconds(eager, device) for _ in range(tries))
    return min(medians, key=lambda threads: medians[threads])


def _measure(
    candidate: Callable[[], object], eager: Callable[[], object], device: torch.device
) -> Timing:
    estimate = sum(_seconds(run, device) for run in (candidate, eager))  # also the first warm-up
    repetitions = int(BUDGET_S / max(estimate, 1e-6))
    repetitions = min(MAX_REPETITIONS, max(MIN_REPETITIONS, repetitions))
    for run in (candidate, eager) * min(3, repetitions // 10 + 1):
        _seconds(run, device)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for run, series in zip((candidate, eager), times, strict=True):
            series.append(_seconds(run, device) * 1e6)
    return Timing(
        candidate_us=statistics.median(times[0]),
        candidate_quartiles_us=_quartiles(times[0]),
        eager_us=statistics.median(times[1]),
        eager_quartiles_us=_quartiles(times[1]),
        repetitions=repetitions,
        torch_threads=torch.get_num_threads(),
    )


def _median_us(run: Callable[[], object], device: torch.device) -> float:
    estimate = _seconds(run, device)
    repetitions = min(
        MAX_REPETITIONS, max(MIN_REPETITIONS, int(BUDGET_S / 2 / max(estimate, 1e-6)))
    )
    return statistics.median(_seconds(run, device) * 1e6 for _ in range(repetitions))


def _quartiles(series: list[float]) -> tuple[float, float]:
    first, _, third = statistics.quantiles(series, n=4)
    return first, third


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    synchronize(device.type)
    started = time.perf_counter()
    run()
    synchronize(device.type)
    return time.perf_counter() - started
