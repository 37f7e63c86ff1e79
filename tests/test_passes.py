"""Rewrites of graphs: what each does, that it is exact, and that its verifier can refuse."""

import sys

import pytest
import torch
from region_cases import cases_of, report_after
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import metalgen
from metalgen.errors import UnsupportedError
from metalgen.optimize import passes, rewritten
from metalgen.optimize.backend import Backend
from metalgen.optimize.passes.apply import Pass, applied
from metalgen.optimize.passes.batch_norm import FOLD_BATCH_NORM
from metalgen.optimize.passes.constants import FOLD_CONSTANTS
from metalgen.optimize.passes.views import MERGE_VIEWS
from metalgen.optimize.strategies import strategies

ATEN = torch.ops.aten


def with_statistics(norm):
    """Away from what a new layer has, so that nothing is 1 or 0 by chance."""
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.uniform_(norm.weight, -2, 2)
        nn.init.normal_(norm.bias)
    return norm.eval()


def pairs():
    two, one, three = nn.BatchNorm2d, nn.BatchNorm1d, nn.BatchNorm3d
    yield nn.Conv2d(3, 8, 3, bias=False), two(8), (2, 3, 7, 9)
    yield nn.Conv2d(4, 8, 3, groups=2, stride=2), two(8, affine=False), (2, 4, 7, 9)
    yield nn.Conv2d(4, 4, 3, groups=4, dilation=2), two(4), (1, 4, 9, 9)
    yield nn.ConvTranspose2d(4, 6, 3, stride=2), two(6), (2, 4, 5, 4)
    yield nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False), two(6), (2, 4, 5, 4)
    yield nn.Conv1d(3, 5, 3, padding=1), one(5), (2, 3, 11)
    yield nn.ConvTranspose1d(6, 4, 3, groups=2), one(4), (2, 6, 5)
    yield nn.Conv3d(2, 5, 2), three(5), (2, 2, 4, 5, 3)
    yield nn.Linear(7, 5), one(5), (6, 7)
    yield nn.Linear(7, 5, bias=False), one(5, affine=False), (6, 7)


PAIRS = [pytest.param(*pair, id=f"{i} {type(pair[0]).__name__}") for i, pair in enumerate(pairs())]


@pytest.mark.parametrize(("layer", "norm", "shape"), PAIRS)
def test_batch_norm_becomes_part_of_the_weights_before_it(layer, norm, shape):
    (case,) = cases_of(nn.Sequential(layer, with_statistics(norm)).eval(), torch.randn(shape))
    folded = applied(FOLD_BATCH_NORM, case.region.module, case.region.parameters)
    targets = {node.target for node in folded.graph.nodes}
    assert ATEN._native_batch_norm_legit_no_training.default not in targets
    doubled = [each.double() for each in case.arguments]
    (expected,), (got,) = case.region.module(*doubled), folded(*doubled)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 1, groups=2)])
def test_batch_norm_before_weights_is_left(layer):
    model = nn.Sequential(with_statistics(nn.BatchNorm2d(4)), layer).eval()
    for case in cases_of(model, torch.randn(2, 4, 5, 5)):
        assert applied(FOLD_BATCH_NORM, case.region.module, case.region.parameters) is None


def test_weights_that_are_an_input_are_left():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = with_statistics(nn.BatchNorm2d(5))

        def forward(self, x, weight):
            return self.norm(torch.conv2d(x, weight))

    (case,) = cases_of(Given().eval(), torch.randn(1, 3, 4, 4), torch.randn(5, 3, 2, 2))
    assert applied(FOLD_BATCH_NORM, case.region.module, case.region.parameters) is None


def test_a_convolution_that_more_than_the_norm_reads_is_left():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Conv2d(3, 5, 2), with_statistics(nn.BatchNorm2d(5))

        def forward(self, x):
            y = self.layer(x)
            return self.norm(y) + y

    (case,) = cases_of(Twice().eval(), torch.randn(1, 3, 4, 4))
    assert applied(FOLD_BATCH_NORM, case.region.module, case.region.parameters) is None


def test_folded_weights_are_made_once_and_again_when_a_parameter_changes():
    model = nn.Sequential(nn.Conv2d(16, 16, 3), with_statistics(nn.BatchNorm2d(16))).eval()
    report, optimized = report_after(model, x := torch.randn(1, 16, 6, 6))
    (region,) = report.regions
    assert '"once": true' in region.stages["plan"]
    with torch.no_grad():
        for change in (
            lambda: model[1].running_var.mul_(2),
            lambda: model[1].weight.add_(1),
            lambda: setattr(model[0].weight, "data", model[0].weight.data * 3),
        ):
            change()
            torch.testing.assert_close(optimized(x), model(x), rtol=1e-4, atol=1e-4)


class Positions(nn.Module):
    """Adds a table that depends on nothing."""

    def forward(self, x):
        steps = torch.arange(48, device=x.device).view(6, 8).float()
        return x + torch.sin(steps * 0.1).pow(2).roll(1, 0)


def test_constants_are_computed_when_the_graph_is_compiled():
    graph = captured(Positions(), torch.randn(6, 8))
    folded = applied(FOLD_CONSTANTS, graph, ())
    calls = [node.target for node in folded.graph.nodes if node.op == "call_function"]
    assert calls == [ATEN.add.Tensor]
    x = torch.randn(6, 8)
    torch.testing.assert_close(folded(x)[0], Positions()(x), rtol=0, atol=0)


def test_a_model_with_folded_constants_is_right():
    report, optimized = report_after(Positions(), x := torch.randn(6, 8))
    assert report.flops_share == 1
    torch.testing.assert_close(optimized(x), Positions()(x))


def test_random_numbers_are_no_constants():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand(4).mul(2).add(1).sin().cos()

    assert applied(FOLD_CONSTANTS, captured(Noise(), torch.randn(4)), ()) is None


def test_views_of_views_become_one():
    class Turns(nn.Module):
        def forward(self, x):
            return x.permute(2, 0, 1).permute(1, 2, 0).reshape(4, 15).reshape(2, 2, 15) + 1

    x = torch.randn(4, 3, 5)
    graph = captured(Turns(), x)
    merged = applied(MERGE_VIEWS, graph, ())
    assert len(merged.graph.nodes) < len(graph.graph.nodes)
    assert sum(node.target is ATEN.permute.default for node in merged.graph.nodes) == 0
    torch.testing.assert_close(merged(x)[0], Turns()(x), rtol=0, atol=0)


class Shared(nn.Module):
    """Two layers whose weights are computed from one parameter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 12))

    def forward(self, x):
        weight = self.weight / self.weight.norm()
        return torch.relu(x @ weight) @ weight


def test_work_on_parameters_is_done_once_by_each_reader():
    report, optimized = report_after(Shared(), x := torch.randn(9, 12))
    for region in report.regions:
        assert '"once": true' in region.stages["plan"] or region.choice != "metal"
    torch.testing.assert_close(optimized(x), optimized._orig_mod(x))


class Scores(nn.Module):
    """Products of heads that lie apart, after work that would take their copies along."""

    def forward(self, q, k):
        queries = torch.relu(q).view(2, 9, 3, 8).transpose(1, 2)
        return queries @ torch.tanh(k).view(2, 9, 3, 8).permute(0, 2, 3, 1) + 1


def test_copies_into_another_order_go_to_the_product_that_reads_them():
    cases = cases_of(Scores(), torch.randn(2, 9, 24), torch.randn(2, 9, 24))
    (case,) = (c for c in cases if any("bmm" in n.name for n in c.region.module.graph.nodes))
    assert {tuple(value.shape) for value in case.arguments} == {(2, 9, 24)}
    (made,) = (offer.make() for offer in strategies(case.region))
    assert case.wrong(made) is None
    assert made.kernels == 2  # the product, and what is added


def test_a_pass_that_changes_a_result_is_refused():
    def ruin(graph, parameters):
        (output,) = graph.find_nodes(op="output")
        with graph.inserting_before(output):
            (result,) = output.args[0]
            other = passes.nodes.call(graph, ATEN.sum.default, result)
        output.args = ((other,),)
        return 1

    graph = captured(Positions(), torch.randn(6, 8))
    ruinous = Pass("ruin", ruin, lambda graph, parameters: [])
    with pytest.raises(UnsupportedError, match="'ruin' changed what the graph returns"):
        applied(ruinous, graph, ())
    left_out = {}
    assert passes.rewrite_graph(graph, (), [ruinous], left_out) is graph
    assert "changed what the graph returns" in left_out["ruin"]


def test_passes_that_fail_on_a_graph_or_a_region_are_named_in_the_report(monkeypatch):
    def fail(graph, parameters):
        raise KeyError("what it did not expect")

    backend = sys.modules[Backend.__module__]  # the package has a function of that name
    monkeypatch.setattr(backend, "OF_GRAPHS", (Pass("of graphs", fail, lambda *_: []),))
    monkeypatch.setattr(rewritten, "OF_REGIONS", (Pass("of regions", fail, lambda *_: []),))
    torch._dynamo.reset()
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Tanh()).eval(), torch.randn(4, 8)
    report = metalgen.explain(model, x, policy="metal")
    (graph,) = report.graphs
    assert graph.choice == "mixed"  # the rest went on
    why = "KeyError: 'what it did not expect'"
    assert graph.left_out == {"of graphs": why}
    assert graph.regions[0].left_out == {"of regions": why}
    assert f"pass 'of graphs' was left out of the graph: {why}" in str(report)
    assert f"pass 'of regions' was left out of {graph.regions[0].name}: {why}" in str(report)


def test_a_pass_that_leaves_work_is_refused():
    lazy = Pass("lazy", lambda graph, parameters: 1, lambda graph, parameters: graph.nodes)
    with pytest.raises(UnsupportedError, match="'lazy' left arg0_1"):
        applied(lazy, captured(Positions(), torch.randn(6, 8)), ())


def captured(model, *inputs):
    """The graph that passes are given: core ATen with fake values."""
    with torch.no_grad():
        return make_fx(lambda *given: (model(*given),), tracing_mode="fake")(*inputs)
