"""The heaviest regions get kernels first, while the budget lasts; the rest stays with ATen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import getitem

import pytest
import torch
from region_contenders import InAten, captured
from torch import Tensor, nn

import metalgen
from metalgen.optimize.budget import Budget, waves
from metalgen.optimize.contender import Contender, Offer, RegionGraph
from metalgen.optimize.graph_pass import SplitGraph, settling
from metalgen.optimize.means import Means
from metalgen.optimize.region import Region
from metalgen.optimize.report import RegionReport


def test_without_a_budget_nothing_gets_kernels_and_the_report_says_so():
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval(), torch.randn(3, 8)
    fast = metalgen.optimize_for_metal(model, policy="metal", budget_s=0)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))
    report = fast.metal_report
    assert [region.choice for region in report.regions] == ["aten", "aten"]
    assert {region.reason for region in report.regions} == {
        "the budget of 0 s was spent on heavier regions"
    }
    assert report.compilations == 0
    assert "the budget of 0 s" in str(report)


@dataclass
class Clock:
    """A clock that only goes on where a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def region(self, name: str, cost: float, made: list[str], means: Means) -> Region:
        """Adds 1; takes `cost` seconds in ATen, and 10 to be made."""

        def add(x: Tensor) -> Tensor:
            self.now += cost
            return x + 1

        def make() -> Contender:
            made.append(name)
            self.now += 10
            return InAten(captured(lambda x: (x + 1,), torch.ones(3)).module, name)

        graph = torch.fx.Graph()
        graph.output((graph.call_function(add, (graph.placeholder("x"),)),))
        region = RegionGraph(torch.fx.GraphModule(nn.Module(), graph))
        return Region(region, [Offer(name, make)], means, RegionReport(name, ("add",)))


def split_graph(regions: Sequence[Region], budget: Budget) -> SplitGraph:
    """One region after the other."""
    graph = torch.fx.Graph()
    value = graph.placeholder("x")
    for number in range(len(regions)):
        value = graph.call_function(getitem, (graph.call_module(str(number), (value,)), 0))
    graph.output((value,))
    module = torch.fx.GraphModule(nn.ModuleList(regions), graph)
    return SplitGraph(module, budget, is_repeatable=True)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1e9, ["heavy", "middle", "light"]), (15, ["heavy"])]
)
def test_the_heaviest_regions_get_kernels_first_until_the_budget_is_spent(seconds, expected):
    clock, made = Clock(), []
    means = Means("metal", Budget(seconds, clock))
    costs = {"light": 1.0, "heavy": 8.0, "middle": 4.0}
    regions = [clock.region(name, cost, made, means) for name, cost in costs.items()]
    with settling():
        (result,) = split_graph(regions, means.budget)([torch.zeros(3)])
    assert result.tolist() == [3, 3, 3]
    assert made == expected
    assert {r.report.name for r in regions if r.report.choice == "metal"} == set(expected)
    left = {r.report.reason for r in regions if r.report.choice == "aten"}
    assert left <= {"the budget of 15 s was spent on heavier regions"}


def test_waves_take_half_of_what_is_left_the_heaviest_first():
    assert list(waves({"a": 1.0, "b": 8.0, "c": 2.0, "d": 4.0})) == [["b"], ["d"], ["c"], ["a"]]
    assert list(waves(dict.fromkeys("abcd", 1.0))) == [["a", "b"], ["c"], ["d"]]
    assert list(waves({})) == []


def test_a_budget_counts_what_is_under_way():
    now = [0.0]
    budget = Budget(10.0, clock=lambda: now[0])
    with budget.spending():
        now[0] = 4.0
        assert not budget.is_spent
        now[0] = 10.0
        assert budget.is_spent
    now[0] = 99.0
    assert budget.spent_s == 10.0
    assert not Budget(None).is_spent
