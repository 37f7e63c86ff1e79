"""Whether kernels beat ATen at the same work, found with few repetitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from metalgen.device import settle, synchronize

REPETITIONS = 7
# Slow work is repeated less: whoever calls a model for the first time is waiting.
BUDGET_S = 0.5
# Who is so much slower than the fastest in the first round does not run in the others.
HOPELESS = 3.0

Run = Callable[[], object]


def race(kernels: Run, aten: Run, device: torch.device) -> tuple[float, float]:
    """Median microseconds of both, taking turns after a warm-up; ATen as in `race_all`."""
    times, aten_us = race_all({"kernels": kernels}, aten, device)
    return times["kernels"], aten_us


def race_all(
    contenders: Mapping[str, Run], aten: Run, device: torch.device
) -> tuple[dict[str, float], float]:
    """Median microseconds of every contender and of ATen, taking turns after a warm-up.

    ATen counts with one thread or all, whichever is faster: on a busy machine its threads wait for
    one another far longer than they compute, and no kernel should win by that alone.
    """
    runs = {("", name): run for name, run in contenders.items()}
    for threads in sorted({1, torch.get_num_threads()}):
        runs["aten", str(threads)] = _with_threads(aten, threads)
    for run in runs.values():
        run()
    settle()
    series = {key: [_seconds(run, device)] for key, run in runs.items()}
    limit = HOPELESS * min(first for (first,) in series.values())
    left = {key: run for key, run in runs.items() if series[key][0] <= limit}
    each = sum(series[key][0] for key in left)
    for _ in range(max(1, min(REPETITIONS, int(BUDGET_S / max(each, 1e-6))))):
        for key, run in left.items():
            series[key].append(_seconds(run, device))
    us = {key: statistics.median(times) * 1e6 for key, times in series.items()}
    return (
        {name: us["", name] for name in contenders},
        min(time for (kind, _), time in us.items() if kind == "aten"),
    )


def _with_threads(run: Run, count: int) -> Run:
    def counted() -> None:
        with _threads(count):
            run()

    return counted


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
