"""How much energy work takes: measured where this machine can, by the cost model elsewhere."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from metalgen.device import settle, synchronize

# Meters count in steps of milliseconds and more: work is repeated until a window is that long.
WINDOW_S = 0.2
WINDOWS = 3

Run = Callable[[], object]


class EnergyMeter(Protocol):
    """Counts the energy that a device takes while work is done."""

    @property
    def name(self) -> str:
        """What measures, for reports."""

    def joules(self, work: Run) -> float:
        """What it takes to do the work, which waits for the device itself."""


class AppleMeter:
    """An Apple GPU's own counters and those of its memory, read by zeus-apple-silicon."""

    name = "zeus-apple-silicon"
    _PARTS = ("gpu_mj", "gpu_sram_mj", "dram_mj")  # None where a chip does not count it

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def joules(self, work: Run) -> float:
        """What GPU and memory take to do the work."""
        self._monitor.begin_window("metalgen")
        try:
            work()
        finally:
            found = self._monitor.end_window("metalgen")
        return sum(getattr(found, part, None) or 0 for part in self._PARTS) / 1000


def energy_meter() -> EnergyMeter | None:
    """What measures the energy of this machine's GPU, None where nothing does."""
    if sys.platform != "darwin":
        return None
    try:
        from zeus_apple_silicon import AppleEnergyMonitor
    except ImportError:
        return None
    return AppleMeter(AppleEnergyMonitor())


def joules_of(runs: Mapping[str, Run], meter: EnergyMeter, device_type: str) -> dict[str, float]:
    """Joules of one call of each, the median of windows that take turns."""
    settle()
    counts = {name: _count(run, device_type) for name, run in runs.items()}
    series: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WINDOWS):
        for name, run in runs.items():
            work = _repeated(run, counts[name], device_type)
            series[name].append(meter.joules(work) / counts[name])
    return {name: statistics.median(each) for name, each in series.items()}


def _repeated(run: Run, count: int, device_type: str) -> Run:
    def work() -> None:
        for _ in range(count):
            run()
        synchronize(device_type)

    return work


def _count(run: Run, device_type: str) -> int:
    """How many calls fill a window."""
    run()
    synchronize(device_type)
    started = time.perf_counter()
    _repeated(run, 1, device_type)()
    return max(1, round(WINDOW_S / max(time.perf_counter() - started, 1e-6)))
