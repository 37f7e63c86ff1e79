"""How much energy work takes: measured where this machine can, by the cost model elsewhere."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import partial

from metalgen.device import settle, synchronize
from metalgen.optimize.meters import EnergyMeter, joules_per_call

WINDOWS = 3

Run = Callable[[], object]


def joules_of(runs: Mapping[str, Run], meter: EnergyMeter, device_type: str) -> dict[str, float]:
    """Joules of one call of each, the median of windows that take turns."""
    settle()
    wait = partial(synchronize, device_type)
    series: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WINDOWS):
        for name, run in runs.items():
            series[name].append(joules_per_call(meter, run, wait))
    return {name: statistics.median(each) for name, each in series.items()}
