"""Sizes that models compute from others, what is made of sizes alone, and memory without values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import metalgen
from metalgen.optimize.passes.apply import applied
from metalgen.optimize.passes.conversions import ONE_CONVERSION


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> None:
    torch._dynamo.reset()


class Fold(nn.Module):
    """Resizes to even sizes, then takes pairs of rows as one, as MobileViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        high, wide = math.ceil(height / 2) * 2, int(width / 2) * 2
        x = nn.functional.interpolate(x, size=(high, wide), mode="nearest")
        x = x.reshape(count, channels, high // 2, 2, -1).mean(3)
        return self.project(x.flatten(2).transpose(1, 2))


class Positions(nn.Module):
    """Numbers that depend on sizes alone, then what reads them."""

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[1])[:, None] * 2.0 ** -torch.arange(x.shape[2])
        return x @ angles.T.softmax(0)


class Scattered(nn.Module):
    """Writes all of a new tensor, out of order."""

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        result = torch.empty_like(x)
        result[order] = x * 2
        return result


def report_of(model: nn.Module, *calls: tuple[Tensor, ...]) -> metalgen.optimize.Report:
    fast = metalgen.optimize_for_metal(model.eval(), policy="metal")
    with torch.no_grad():
        for inputs in calls:
            torch.testing.assert_close(fast(*inputs), model(*inputs))
    return fast.metal_report


def test_rounded_quotients_of_sizes_have_kernels():
    shapes = (2, 4, 8, 8), (3, 4, 12, 6), (2, 4, 9, 8), (2, 4, 7, 11)
    report = report_of(Fold(), *((torch.randn(shape),) for shape in shapes))
    assert [left for graph in report.graphs for left in graph.left] == []
    assert all(region.choice == "metal" for graph in report.graphs for region in graph.regions)


def test_what_is_made_of_sizes_alone_has_kernels():
    report = report_of(Positions(), *((torch.randn(2, n, 5),) for n in (6, 9)))
    assert all(region.choice == "metal" for graph in report.graphs for region in graph.regions)


def test_memory_without_values_is_not_compared():
    x = torch.randn(5, 3)
    report = report_of(Scattered(), (x, torch.randperm(5)))
    left = {name: why for graph in report.graphs for name, why in graph.left}
    assert "memory without values" in left.values(), left
    assert all(region.choice == "metal" for graph in report.graphs for region in graph.regions)


def test_conversions_have_one_name():
    convert = torch.ops.prims.convert_element_type.default
    module = make_fx(lambda x: convert(x, torch.half) * 2, tracing_mode="fake")(torch.randn(4))
    renamed = applied(ONE_CONVERSION, module, ())
    assert renamed is not None
    targets = [node.target for node in renamed.graph.find_nodes(op="call_function", target=convert)]
    assert targets == []
    x = torch.randn(4)
    assert torch.equal(renamed(x), module(x))


class Probe(nn.Module):
    """Attends with its own queries, for which nn.MultiheadAttention splits its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.probe.repeat(x.shape[0], 1, 1), x, x)[0]


def test_regions_that_read_parts_of_split_weights_take_tensors():
    report = report_of(Probe(), (torch.randn(2, 7, 16),), (torch.randn(3, 9, 16),))
    assert {graph.choice for graph in report.graphs} == {"mixed"}
    assert all(region.choice == "metal" for graph in report.graphs for region in graph.regions)
