"""Which meter this machine has: its chip's own on a Mac, else all counters that can be read."""

from __future__ import annotations

import sys

from metalgen.optimize.meters.apple import apple_meter
from metalgen.optimize.meters.counters import Counter, Counters
from metalgen.optimize.meters.nvml import nvml_counters
from metalgen.optimize.meters.rapl import rapl_counters
from metalgen.optimize.meters.window import EnergyMeter


def energy_meter() -> EnergyMeter | None:
    """What measures energy here, None where nothing does."""
    if sys.platform == "darwin":
        return apple_meter()
    counters: list[Counter] = [*rapl_counters(), *nvml_counters()]
    return Counters(counters) if counters else None
