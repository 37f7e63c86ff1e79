"""Which of two ways to compute the same thing is faster, found with few repetitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

REPETITIONS = 7
# Slow work is repeated less: whoever calls a model for the first time is waiting.
BUDGET_S = 0.5


def race(
    first: Callable[[], object], second: Callable[[], object], device: torch.device
) -> tuple[float, float]:
    """Median microseconds of both, taking turns after a warm-up."""
    started = time.perf_counter()
    for run in (first, second):
        _seconds(run, device)
    each = time.perf_counter() - started
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(1, min(REPETITIONS, int(BUDGET_S / max(each, 1e-6))))):
        for run, series in zip((first, second), times, strict=True):
            series.append(_seconds(run, device))
    return statistics.median(times[0]) * 1e6, statistics.median(times[1]) * 1e6


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    _synchronise(device)
    started = time.perf_counter()
    run()
    _synchronise(device)
    return time.perf_counter() - started


def _synchronise(device: torch.device) -> None:
    if device.type == "mps":
        torch.mps.synchronize()
