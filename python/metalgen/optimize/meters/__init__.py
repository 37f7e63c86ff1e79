"""The counters of energy that this machine has, and windows in which work is measured by them."""

from metalgen.optimize.meters.counters import Counter, Counters
from metalgen.optimize.meters.here import energy_meter
from metalgen.optimize.meters.window import EnergyMeter, joules_per_call

__all__ = ["Counter", "Counters", "EnergyMeter", "energy_meter", "joules_per_call"]
