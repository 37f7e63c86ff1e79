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
# Who is so much slower than the fastest at first sight takes no further part.
HOPELESS = 3.0

Run = Callable[[], object]


def race(kernels: Run, aten: Run, device: torch.device) -> tuple[float, float]:
    """Median microseconds of both, taking turns after a warm-up; ATen as in `race_all`."""
    times, aten_us = race_all({"kernels": kernels}, aten, device)
    return times["kernels"], aten_us


def race_all(
    contenders: Mapping[str, Run], aten: Run, device: torch.device
) -> tuple[dict[str, float], float]:
    """Median microseconds of every contender and of ATen, taking turns.

    Who is hopeless at first sight takes no further part.

    ATen counts with one thread or all, whichever is faster: on a busy machine its threads wait for
    one another far longer than they compute, and no kernel should win by that alone.
    """
    runs = {("", name): run for name, run in contenders.items()}
    for threads in sorted({1, torch.get_num_threads()}):
        runs["aten", str(threads)] = _with_threads(aten, threads)
    # Contenders ran before, when they were checked, perhaps as code that was made quickly.
    settle()
    aten()
    # Two looks, the better of which counts: the first finds cold caches, either a busy machine.
    looks = {key: min(_seconds(run, device) for _ in range(2)) for key, run in runs.items()}
    limit = HOPELESS * min(looks.values())
    left = {key: run for key, run in runs.items() if looks[key] <= limit}
    rounds = int(BUDGET_S / max(sum(looks[key] for key in left), 1e-6))
    series: dict[tuple[str, str], list[float]] = {key: [] for key in left}
    for _ in range(max(1, min(REPETITIONS, rounds))):
        for key, run in left.items():
            series[key].append(_seconds(run, device))
    us = {key: seconds * 1e6 for key, seconds in looks.items()}
    us |= {key: statistics.median(times) * 1e6 for key, times in series.items()}
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
