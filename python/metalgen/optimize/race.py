"""Whether kernels beat ATen at the same work, found with few repetitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from metalgen.device import synchronize

REPETITIONS = 7
# Slow work is repeated less: whoever calls a model for the first time is waiting.
BUDGET_S = 0.5

Run = Callable[[], object]


def race(kernels: Run, aten: Run, device: torch.device) -> tuple[float, float]:
    """Median microseconds of both, taking turns after a warm-up.

    ATen counts with one thread or all, whichever is faster: on a busy machine its threads wait for
    one another far longer than they compute, and no kernel should win by that alone.
    """
    counts = sorted({1, torch.get_num_threads()})
    started = time.perf_counter()
    _seconds(kernels, device)
    for threads in counts:
        with _threads(threads):
            _seconds(aten, device)
    each = time.perf_counter() - started
    own: list[float] = []
    theirs: dict[int, list[float]] = {threads: [] for threads in counts}
    for _ in range(max(1, min(REPETITIONS, int(BUDGET_S / max(each, 1e-6))))):
        own.append(_seconds(kernels, device))
        for threads in counts:
            with _threads(threads):
                theirs[threads].append(_seconds(aten, device))
    return statistics.median(own) * 1e6, min(map(statistics.median, theirs.values())) * 1e6


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(run: Run, device: torch.device) -> float:
    synchronize(device.type)
    started = time.perf_counter()
    run()
    synchronize(device.type)
    return time.perf_counter() - started
