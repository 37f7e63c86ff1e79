"""The policy that chooses by joules: measured by a meter, or predicted for a chip."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from region_contenders import InAten, captured
from torch import nn

import metalgen
from metalgen.errors import UnsupportedError
from metalgen.optimize import means as means_module
from metalgen.optimize.contender import Offer
from metalgen.optimize.energy import joules_of
from metalgen.optimize.means import Means
from metalgen.optimize.meters import Counters
from metalgen.optimize.meters.apple import AppleMeter
from metalgen.optimize.meters.nvml import nvml_counters
from metalgen.optimize.meters.rapl import rapl_counters
from metalgen.optimize.region import Region
from metalgen.optimize.report import RegionReport


@dataclass
class Counter:
    """A meter and the device it measures: `spend` is called by work."""

    name: str = "a counter"
    window_s: float = 0.05
    spent: float = 0.0
    before: float = 0.0

    def spend(self, joules: float) -> None:
        self.spent += joules

    def begin(self) -> None:
        self.before = self.spent

    def is_at_step(self) -> bool:
        return True

    def end(self) -> float:
        return self.spent - self.before


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
    monkeypatch.setattr(means_module, "energy_meter", lambda: None)
    with pytest.raises(UnsupportedError, match=r"cannot be measured here.*chip="):
        metalgen.optimize_for_metal(nn.ReLU(), policy="energy")


def test_a_chip_of_unknown_power_is_refused():
    unknown = [chip for chip in metalgen.chips.all_chips() if not chip.has_known_power]
    with pytest.raises(UnsupportedError, match="nothing is known of the power"):
        metalgen.optimize_for_metal(nn.ReLU(), policy="energy", chip=unknown[0].name)


def test_apples_counters_of_the_whole_chip_are_added_up():
    """A monitor of the form that zeus-apple-silicon gives; the real one needs a Mac."""

    class Window:
        cpu_total_mj, gpu_mj, gpu_sram_mj, ane_mj, dram_mj = 200, 1500, None, 50, 250

    class Monitor:
        def begin_window(self, key: str) -> None:
            self.key = key

        def end_window(self, key: str) -> Window:
            assert key == self.key
            return Window()

    meter = AppleMeter(Monitor())
    meter.begin()
    assert meter.end() == 2.0


def zone(folder, name: str, title: str, energy_uj: int):
    """A domain as Linux shows it."""
    made = folder / name
    made.mkdir(parents=True)
    (made / "name").write_text(title + "\n")
    (made / "energy_uj").write_text(f"{energy_uj}\n")
    (made / "max_energy_range_uj").write_text("10000000\n")
    return made / "energy_uj"


def test_processors_and_their_memory_are_counted_but_nothing_twice(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 4_000_000)
    zone(tmp_path, "intel-rapl:0:2", "dram", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    found = {counter.name: counter.read() for counter in rapl_counters(tmp_path)}
    assert found == {"package-0": 5.0, "dram of 0": 1.0}


def test_a_counter_that_begins_again_goes_on_counting(tmp_path):
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 9_500_000)
    meter = Counters(rapl_counters(tmp_path))
    meter.begin()
    energy.write_text("500000\n")
    assert meter.end() == pytest.approx(1.0)


def test_a_domain_that_may_not_be_read_is_no_counter(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 1).unlink()
    assert rapl_counters(tmp_path) == []
    assert rapl_counters(tmp_path / "not there") == []


@dataclass
class Steps:
    """A counter that steps by 3 J at every third look."""

    name: str = "steps"
    window_s: float = 0.0
    is_coarse: bool = True
    looks: int = 0

    def read(self) -> float:
        self.looks += 1
        return float(self.looks // 3 * 3)


@dataclass
class Fine:
    """A counter that never moves."""

    name: str = "fine"
    window_s: float = 0.0
    is_coarse: bool = False

    def read(self) -> float:
        return 7.0


def test_windows_begin_and_end_with_a_step_of_the_coarse_counter():
    meter = Counters([Fine(), steps := Steps()])
    assert meter.name == "fine + steps"
    meter.begin()
    begun = steps.looks
    assert (begun - 1) % 3 == 0  # the look that saw it step, and one more to read it
    while not meter.is_at_step():
        pass
    assert steps.looks % 3 == 0
    assert meter.end() == 3.0


def test_nvidias_counters_are_those_of_the_gpus_that_are_here():
    pynvml = pytest.importorskip("pynvml", reason="the extra energy is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert nvml_counters() == []
        return
    for counter in nvml_counters():
        assert counter.read() > 0
