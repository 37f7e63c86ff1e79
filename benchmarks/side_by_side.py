"""Times what computes the same on the software device, in PyTorch and in PoCL, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metalgen.device import settle

Call = Callable[[], Tensor]  # runs once; what it computed
ROUNDS = 9


@dataclass(frozen=True)
class Workload:
    """One line of the table; the result of `opencl` may lie in the device's memory until read."""

    name: str
    ours: Call
    eager: Call
    opencl: Call | None = None
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Timed:
    """Milliseconds: of CPU time for the first call of ours (not of what optimises beside it), then
    the least of several of each, all code optimised.
    """

    first: float
    ours: float
    eager: float
    opencl: float | None


@dataclass
class _Best:
    call: Call
    least: float = field(default=float("inf"))

    def run(self) -> Tensor:
        start = time.perf_counter()
        result = self.call()
        self.least = min(self.least, (time.perf_counter() - start) * 1e3)
        return result


def measure(workload: Workload, rounds: int = ROUNDS) -> Timed:
    """Checks that all agree, then times them in turn, so that all meet the same disturbances."""
    start = time.process_time()
    computed = workload.ours()
    first = (time.process_time() - start) * 1e3
    settle()
    expected = workload.eager()
    calls = [workload.ours, workload.eager]
    _require_close(f"metalgen: {workload.name}", computed, expected, workload.tolerance)
    if workload.opencl is not None:
        _require_close(f"PoCL: {workload.name}", workload.opencl(), expected, workload.tolerance)
        calls.append(workload.opencl)
    contenders = [_Best(call) for call in calls]
    for _ in range(rounds):
        for contender in contenders:
            contender.run()
    times = [contender.least for contender in contenders]
    return Timed(first, times[0], times[1], times[2] if len(times) > 2 else None)


def _require_close(name: str, computed: Tensor, expected: Tensor, tolerance: float) -> None:
    """What computes something else is not worth timing."""
    torch.testing.assert_close(
        computed, expected, atol=tolerance, rtol=tolerance, msg=lambda text: f"{name}: {text}"
    )


HEADER = (
    f"{'milliseconds, best of ' + str(ROUNDS):<44}{'first':>8}{'metalgen':>10}{'torch':>9}"
    f"{'PoCL':>9}{'/torch':>8}{'/PoCL':>8}"
)


def line(name: str, timed: Timed) -> str:
    """A row of the table; ratios below 1 are where metalgen is faster."""
    numbers = f"{timed.first:>8.0f}{timed.ours:>10.2f}{timed.eager:>9.2f}"
    if timed.opencl is None:
        return f"{name:<44}{numbers}{'':>9}{timed.ours / timed.eager:>8.2f}"
    ratios = f"{timed.ours / timed.eager:>8.2f}{timed.ours / timed.opencl:>8.2f}"
    return f"{name:<44}{numbers}{timed.opencl:>9.2f}{ratios}"
