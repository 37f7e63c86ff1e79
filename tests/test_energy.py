"""The policy that chooses by joules: measured by a meter, or predicted for a chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from region_contenders import InAten, captured
from torch import nn

import metalgen
from metalgen.errors import UnsupportedError
from metalgen.optimize import energy
from metalgen.optimize.contender import Offer
from metalgen.optimize.energy import AppleMeter, joules_of
from metalgen.optimize.means import Means
from metalgen.optimize.region import Region
from metalgen.optimize.report import RegionReport


@dataclass
class Counter:
    """A meter and the device it measures: `spend` is called by work."""

    name: str = "a counter"
    spent: float = 0.0

    def spend(self, joules: float) -> None:
        self.spent += joules

    def joules(self, work: Callable[[], object]) -> float:
        before = self.spent
        work()
        return self.spent - before


class Metered(InAten):
    """A contender of which every call takes some energy."""

    def run(self, arguments):
        METER.spend(COSTS[self.name])
        return super().run(arguments)


METER = Counter()
COSTS = {"frugal": 1.0, "wasteful": 3.0}


@pytest.mark.parametrize("aten", [2.0, 0.5])
def test_the_region_runs_where_it_takes_least_energy_whatever_the_time(aten):
    graph = captured(lambda x: (x + 1,), torch.ones(3))

    def in_aten(x):
        METER.spend(aten)
        return (x + 1,)

    object.__setattr__(graph, "eager", in_aten)
    means = Means(policy="energy", meter=METER)
    offers = [Offer(name, lambda name=name: Metered(graph.module, name)) for name in COSTS]
    report = RegionReport("region_0", ("add",))
    Region(graph, offers, means, report)(torch.ones(3))
    ((found,),) = [report.classes.values()]
    assert found.contender == "frugal"
    assert found.choice == ("metal" if aten == 2.0 else "aten")
    assert "less energy" in found.reason
    assert found.joules == pytest.approx({**COSTS, "aten": aten})


def test_short_work_is_repeated_until_the_meter_can_see_it():
    calls = []
    meter = Counter()

    def work() -> None:
        calls.append(1)
        meter.spend(0.25)

    assert joules_of({"work": work}, meter, "cpu") == {"work": 0.25}
    assert len(calls) > 100


def test_a_chips_power_predicts_what_a_model_takes():
    model, x = nn.Sequential(nn.Linear(64, 64), nn.GELU()).eval(), torch.randn(32, 64)
    report = metalgen.explain(model, x, policy="energy", chip="M1")
    (found,) = (each for region in report.regions for each in region.classes.values())
    assert {"templates", "aten"} <= found.joules.keys()
    assert "as predicted" in found.reason
    assert "mJ" in str(report)


def test_without_a_meter_or_a_chip_the_reason_and_the_remedy_are_told(monkeypatch):
    monkeypatch.setattr(energy.sys, "platform", "linux")
    with pytest.raises(UnsupportedError, match=r"cannot be measured here.*chip="):
        metalgen.optimize_for_metal(nn.ReLU(), policy="energy")


def test_a_chip_of_unknown_power_is_refused():
    unknown = [chip for chip in metalgen.chips.all_chips() if not chip.has_known_power]
    with pytest.raises(UnsupportedError, match="nothing is known of the power"):
        metalgen.optimize_for_metal(nn.ReLU(), policy="energy", chip=unknown[0].name)


def test_apples_counters_of_gpu_and_memory_are_added_up():
    """A monitor of the form that zeus-apple-silicon gives; the real one needs a Mac."""

    class Window:
        gpu_mj, gpu_sram_mj, dram_mj, cpu_total_mj = 1500, None, 250, 9000

    class Monitor:
        def begin_window(self, key: str) -> None:
            self.key = key

        def end_window(self, key: str) -> Window:
            assert key == self.key
            return Window()

    done = []
    assert AppleMeter(Monitor()).joules(lambda: done.append(1)) == 1.75
    assert done == [1]
