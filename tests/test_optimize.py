"""Whole models through torch.compile: results as eager's, kernels where they can be, reasons."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends import registry
from torch.fx.experimental.proxy_tensor import make_fx

import metalgen
from metalgen.optimize import Report, backend
from metalgen.optimize.choices import LEAST_GAIN
from metalgen.optimize.contender import Offer, RegionGraph
from metalgen.optimize.means import Means
from metalgen.optimize.region import Region
from metalgen.optimize.region_plan import plan_region
from metalgen.optimize.report import RegionReport

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()


def mlp(width: int = 16) -> nn.Module:
    layers = (nn.Linear(width, 24), nn.ReLU(), nn.LayerNorm(24), nn.Linear(24, 8), nn.Softmax(-1))
    return nn.Sequential(*layers).eval()


class AttentionBlock(nn.Module):
    """Pre-norm attention and feed-forward, two heads."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.project(self.first(x)).view(batch, length, 3, 2, width // 2)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed(self.second(x))


class SortInTheMiddle(nn.Module):
    """No template sorts."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        ordered, _ = torch.sort(torch.relu(self.before(x)), -1)
        return torch.sigmoid(self.after(ordered))


def report_of(optimized: nn.Module) -> Report:
    report: Report = vars(optimized)["metal_report"]
    return report


def run(model: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(*inputs)
    return result


def on_metal(report: Report) -> set[str]:
    """The operators that run in kernels."""
    chosen = (region for region in report.regions if region.choice == "metal")
    return {name for region in chosen for name in region.operators}


def test_an_mlp_runs_whole_in_kernels_and_gives_what_eager_gives():
    model, x = mlp(), torch.randn(5, 16)
    optimized = metalgen.optimize_for_metal(model, policy="metal")
    torch.testing.assert_close(run(optimized, x), run(model, x))
    report = report_of(optimized)
    assert {"addmm", "relu", "native_layer_norm", "_softmax"} <= on_metal(report)
    assert [graph.left for graph in report.graphs] == [[]]


def test_a_convolutional_net_keeps_its_memory_layout():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Conv2d(8, 4, 3)).eval()
    x = torch.randn(2, 3, 12, 10).to(memory_format=torch.channels_last)
    optimized = metalgen.optimize_for_metal(model, policy="metal")
    result, expected = run(optimized, x), run(model, x)
    torch.testing.assert_close(result, expected)
    assert result.stride() == expected.stride()
    assert {"convolution", "relu", "max_pool2d_with_indices"} <= on_metal(report_of(optimized))


def test_a_transformer_block_runs_whole_in_kernels():
    model, x = AttentionBlock().eval(), torch.randn(2, 6, 16)
    optimized = metalgen.optimize_for_metal(model, policy="metal")
    torch.testing.assert_close(run(optimized, x), run(model, x))
    assert {"scaled_dot_product_attention", "gelu", "native_layer_norm"} <= on_metal(
        report_of(optimized)
    )
    assert all(region.choice == "metal" for region in report_of(optimized).regions)


def test_an_operator_without_a_template_stays_with_aten_and_the_rest_gets_kernels():
    model, x = SortInTheMiddle().eval(), torch.randn(3, 8)
    report = metalgen.explain(model, x, policy="metal")
    assert [region.choice for region in report.regions] == ["metal", "metal"]
    (graph,) = report.graphs
    assert [name for name, _ in graph.left] == ["sort"]
    assert "sort" in str(report)
    assert "region_0" in str(report)
    again = metalgen.optimize_for_metal(model, policy="metal")
    torch.testing.assert_close(run(again, x), run(model, x))
    assert len(report_of(again).graphs) == len(report.graphs) == 1


def test_another_batch_size_compiles_no_metal(tmp_path, monkeypatch):
    monkeypatch.setenv("METALGEN_CACHE_DIR", str(tmp_path))
    model = mlp(width=20)
    optimized = metalgen.optimize_for_metal(model, policy="metal")
    run(optimized, torch.randn(4, 20))
    compilations = report_of(optimized).compilations
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert compilations >= len(report_of(optimized).regions) == 2  # each by several strategies
    assert files
    for batch in (7, 3):
        x = torch.randn(batch, 20)
        torch.testing.assert_close(run(optimized, x), run(model, x))
    assert report_of(optimized).compilations == compilations
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
    assert len(report_of(optimized).graphs) == 1


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_changed_in_any_way_are_seen(bias):
    model, x = nn.Linear(8, 6, bias=bias).eval(), torch.randn(3, 8)
    optimized = metalgen.optimize_for_metal(model, policy="metal")
    results = [run(optimized, x)]
    with torch.no_grad():
        model.weight.mul_(2)
    results.append(run(optimized, x))
    torch.testing.assert_close(results[-1], run(model, x))
    model.weight.data = torch.randn(6, 8)
    results.append(run(optimized, x))
    torch.testing.assert_close(results[-1], run(model, x))
    model.weight = nn.Parameter(torch.randn(6, 8))
    results.append(run(optimized, x))
    torch.testing.assert_close(results[-1], run(model, x))
    assert all(not torch.equal(a, b) for a, b in pairwise(results))
    assert on_metal(report_of(optimized))


def test_a_bfloat16_model_runs_in_kernels():
    model, x = mlp().bfloat16(), torch.randn(5, 16).bfloat16()
    optimized = metalgen.optimize_for_metal(model, policy="metal")
    result = run(optimized, x)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, run(model, x))
    assert {"addmm", "_softmax"} <= on_metal(report_of(optimized))


def test_the_fastest_of_both_is_kept_and_the_times_are_reported():
    report = metalgen.explain(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), torch.randn(4, 8))
    (region,), (graph,) = report.regions, report.graphs
    assert region.metal_us is not None
    assert region.aten_us is not None
    assert (region.choice == "metal") == (region.metal_us < (1 - LEAST_GAIN) * region.aten_us)
    if region.choice == "aten":
        assert graph.choice == "eager"
    elif graph.compiled_us is not None and graph.eager_us is not None:
        is_faster = graph.compiled_us < (1 - LEAST_GAIN) * graph.eager_us
        assert (graph.choice == "mixed") == is_faster


def test_kernels_that_are_wrong_are_not_used():
    def traced(function, x):
        return make_fx(function, tracing_mode="fake")(x)

    x = torch.randn(4, 5)
    eager = traced(lambda x: (torch.tanh(x),), x)
    plan = plan_region(RegionGraph(traced(lambda x: (torch.sin(x),), x)))
    report = RegionReport("region_0", ("tanh",))
    offer = Offer("templates", lambda: plan)
    region = Region(RegionGraph(eager), [offer], Means("metal"), report)
    torch.testing.assert_close(region(x)[0], torch.tanh(x))
    assert region.report.choice == "aten"
    assert "20 of 20 elements are wrong" in region.report.reason


def test_inputs_that_are_changed_in_place_are_changed_once_per_call():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(8))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return torch.relu(x) * 2 + self.calls

    model, x = Counting().eval(), torch.randn(3, 8)
    for policy in ("metal", "fastest"):
        model.calls.zero_()
        optimized = metalgen.optimize_for_metal(model, policy=policy)
        for call in (1, 2, 3):
            torch.testing.assert_close(run(optimized, x), torch.relu(x) * 2 + call)


def test_an_unknown_policy_is_refused():
    with pytest.raises(metalgen.errors.UnsupportedError, match="policy 'slowest'"):
        metalgen.optimize_for_metal(mlp(), policy="slowest")
    with pytest.raises(metalgen.errors.UnsupportedError, match="option speed"):
        backend(torch.fx.symbolic_trace(nn.ReLU()), [torch.ones(1)], options={"speed": 1})


def test_torch_compile_knows_the_backend_by_name(tmp_path, monkeypatch):
    announced = re.search(
        r"\[project.entry-points.(torch_dynamo_backends)\]\n(metalgen = )\"(.*)\"",
        (ROOT / "pyproject.toml").read_text(),
    )
    assert announced is not None
    group, name, target = announced.groups()
    info = tmp_path / "announced-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: announced\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name}{target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry._lazy_import.cache_clear()
    registry._discover_entrypoint_backends.cache_clear()
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), torch.randn(4, 8)
    compiled = torch.compile(model, backend="metalgen", options={"policy": "metal"})
    torch.testing.assert_close(run(compiled, x), run(model, x))
