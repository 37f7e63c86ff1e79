"""Who computes a region: by shape class, within a budget, by kept, measured or predicted times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from region_contenders import InAten, captured
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import symbolic_trace

import metalgen
from metalgen import kept_times
from metalgen.errors import LaunchError, UnsupportedError
from metalgen.kept_times import Time
from metalgen.optimize import Backend, backend
from metalgen.optimize.canonical import canonical_text, fingerprint
from metalgen.optimize.choices import RegionTimes
from metalgen.optimize.contender import Contender, Offer, RegionGraph
from metalgen.optimize.contenders import templates
from metalgen.optimize.means import Means, kept_choices
from metalgen.optimize.predicted import predicted_aten
from metalgen.optimize.region import MOST_CLASSES, Region
from metalgen.optimize.region_plan import plan_region
from metalgen.optimize.report import RegionReport
from metalgen.optimize.shape_class import shape_class


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    torch._dynamo.reset()
    monkeypatch.setenv("METALGEN_TIMES_DIR", str(tmp_path))
    kept_times.close_all()
    yield
    kept_times.close_all()


def softened(x: Tensor) -> tuple[Tensor, ...]:
    return (torch.tanh(x) * 2,)


def region_of(
    graph: RegionGraph, *contenders: Contender, means: Means | None = None
) -> tuple[Region, RegionReport]:
    report = RegionReport("region_0", ("tanh", "mul"))
    offers = [Offer(c.name, lambda c=c: c) for c in contenders]
    return Region(graph, offers, means or Means("metal"), report), report


def test_the_class_of_a_call_tells_sizes_rests_and_layouts():
    x = torch.empty(5, 64)
    assert shape_class([x, 3]) == "float32 <8x64, <4"
    assert shape_class([torch.empty(96, 100)]) == "float32 128x<128"
    assert shape_class([torch.empty(0, 1)]) == "float32 0x1"
    assert shape_class([x.half().t()]) == "float16 64x<8@10"
    assert shape_class([x[:, ::2]]) == "float32 <8x32@01+"
    last = torch.empty(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert shape_class([last]) == "float32 2x<4x4x4@0231"


def test_each_shape_class_is_checked_once_and_reported():
    graph = captured(softened, torch.randn(4, 8))
    contender = InAten(graph.module)
    region, report = region_of(graph, contender)
    for rows in (4, 4, 3, 3, 16):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(region(x), softened(x))
    assert list(report.classes) == ["float32 4x8", "float32 <4x8", "float32 16x8"]
    assert {found.choice for found in report.classes.values()} == {"metal"}


def test_a_contender_that_is_wrong_in_one_shape_class_is_used_in_the_others_alone():
    graph = captured(softened, torch.randn(4, 8))

    class WrongAtTheEdge(InAten):
        def run_in(self, allocate, arguments):
            self.check_error = float(arguments[0].shape[0] % 4)
            return super().run_in(allocate, arguments)

    contender = WrongAtTheEdge(graph.module)
    region, report = region_of(graph, contender)
    for rows in (4, 3):
        region(torch.randn(rows, 8))
    whole, rest = report.classes.values()
    assert (whole.choice, rest.choice) == ("metal", "aten")
    assert "wrong: " in rest.reason
    contender.runs.clear()
    region(torch.randn(3, 8))
    assert contender.runs == []


def test_a_new_shape_class_makes_nothing_new():
    graph = captured(softened, torch.randn(4, 8))
    means = Means("metal")
    report = RegionReport("region_0", ("tanh",))
    region = Region(graph, [Offer("templates", lambda: plan_region(graph))], means, report)
    for rows in (4, 5, 0, 1, 33):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(region(x), softened(x))
    assert means.report.compilations == 1
    assert len(report.classes) == 5


def test_shape_classes_beyond_the_bound_stay_with_aten():
    graph = captured(softened, torch.randn(4, 8))
    contender = InAten(graph.module)
    region, report = region_of(graph, contender)
    sizes = [(1 << i, 1 << j) for i in range(9) for j in range(8)][: MOST_CLASSES + 1]
    for size in sizes:
        region(torch.randn(size))
    *checked, beyond = report.classes.values()
    assert {found.choice for found in checked} == {"metal"}
    assert beyond.choice == "aten"
    assert "beyond the 64 shape classes" in beyond.reason


def test_a_contender_that_fails_later_leaves_that_class_to_aten():
    graph = captured(softened, torch.randn(4, 8))

    class FailsThen(InAten):
        is_broken = False

        def run(self, arguments):
            if self.is_broken:
                raise LaunchError("the device is gone")
            return super().run(arguments)

    contender = FailsThen(graph.module)
    region, report = region_of(graph, contender)
    x = torch.randn(4, 8)
    region(x)
    contender.is_broken = True
    torch.testing.assert_close(region(x), softened(x))
    assert report.choice == "aten"
    assert "failed on later inputs: the device is gone" in report.reason


def test_a_contender_that_raises_whatever_it_likes_is_only_out_of_the_race():
    graph = captured(softened, torch.randn(4, 8))

    class Raises(InAten):
        def run_in(self, allocate, arguments):
            raise ZeroDivisionError("of its own")

    region, report = region_of(graph, Raises(graph.module, "raises"), InAten(graph.module, "works"))
    region(torch.randn(4, 8))
    (found,) = report.classes.values()
    assert (found.choice, found.contender) == ("metal", "works")
    assert found.refused == ("raises: wrong: ZeroDivisionError: of its own",)


def test_a_source_that_fails_leaves_the_others():
    def broken(region: RegionGraph) -> Iterator[Offer]:
        raise KeyError("no such table")
        yield

    means = Means("metal")
    optimized = torch.compile(
        nn.Linear(8, 4).eval(), backend=Backend(means, sources=(broken, templates)), dynamic=True
    )
    with torch.no_grad():
        optimized(torch.randn(3, 8))
    (region,) = means.report.regions
    assert region.choice == "metal"
    (found,) = region.classes.values()
    assert "KeyError" in found.refused[0]


def test_equal_regions_of_a_model_are_the_same_whatever_their_nodes_are_called():
    def first(alpha: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
        return (torch.relu(alpha @ beta),)

    def second(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        product = torch.mm(x, y)
        return (product.relu(),)

    inputs = torch.randn(4, 8), torch.randn(8, 3)
    a, b = captured(first, *inputs), captured(second, *inputs)
    assert canonical_text(a.module) == canonical_text(b.module)
    assert fingerprint(a) == fingerprint(b)
    assert [node.name for node in a.placeholders] == ["x", "x_1"]
    other = captured(lambda x, y: (torch.tanh(x @ y),), *inputs)
    assert fingerprint(other) != fingerprint(a)
    swapped = captured(lambda x, y: (torch.relu(y.t() @ x.t()),), *inputs)
    assert fingerprint(swapped) != fingerprint(a)


@pytest.mark.parametrize("is_faked", [False, True])
def test_regions_are_told_apart_by_all_of_their_constants(is_faked):
    class Shift(nn.Module):
        def __init__(self, last: float) -> None:
            super().__init__()
            self.by = torch.zeros(40)
            self.by[-1] = last

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return (x + self.by,)

    texts = []
    for last in (1.0, 2.0):
        module = symbolic_trace(Shift(last))
        for node in module.graph.nodes:
            node.meta["val"] = torch.empty(3, 40)
        with FakeTensorMode() if is_faked else nullcontext():
            texts.append(canonical_text(module))
    assert texts[0] != texts[1]


def test_layers_of_one_kind_share_what_was_measured():
    layers = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)]
    report = metalgen.explain(nn.Sequential(*layers).eval(), torch.randn(4, 8), policy="metal")
    hows = [found.how for region in report.regions for found in region.classes.values()]
    assert hows == ["measured", "kept", "kept"]


def test_what_was_measured_is_kept_and_the_next_process_does_not_race(tmp_path):
    def explained():
        torch._dynamo.reset()
        kept_times.close_all()  # as a new process begins
        return metalgen.explain(nn.Linear(8, 4).eval(), torch.randn(3, 8))

    first = explained()
    assert (tmp_path / "regions.json").is_file()
    second = explained()
    (was,), (now,) = first.regions, second.regions
    assert now.choice == was.choice
    assert now.aten_us == pytest.approx(was.aten_us, abs=0.01)
    assert next(iter(now.classes.values())).how == "kept"
    assert "as measured before" in str(second)
    assert all(
        found.how != "measured" for graph in second.graphs for found in graph.classes.values()
    )


def test_times_of_other_kernels_for_the_same_region_are_not_taken_for_these():
    graph, x = captured(softened, torch.randn(4, 8)), torch.randn(4, 8)
    for content in ("1", "2"):
        region, report = region_of(graph, InAten(graph.module, content=content))
        region(x)
        assert [found.how for found in report.classes.values()] == ["measured"]
    region, report = region_of(graph, InAten(graph.module, content="2"))
    region(x)
    assert [found.how for found in report.classes.values()] == ["kept"]


def test_a_kept_time_does_not_spare_the_check():
    graph, x = captured(softened, torch.randn(4, 8)), torch.randn(4, 8)
    region, _ = region_of(graph, InAten(graph.module))
    region(x)
    region, report = region_of(graph, InAten(graph.module, check_error=1.0))
    region(x)
    assert report.choice == "aten"
    assert "wrong: " in report.reason


def test_damaged_choices_are_measured_again_with_a_warning(tmp_path):
    (tmp_path / "regions.json").write_text("{")
    with pytest.warns(RuntimeWarning, match="damaged and passed over"):
        report = metalgen.explain(nn.Linear(8, 4).eval(), torch.randn(3, 8))
    assert report.regions[0].aten_us is not None
    assert json.loads((tmp_path / "regions.json").read_text())["devices"]


@pytest.mark.parametrize(
    ("aten_us", "choice", "made"), [(10.0, "metal", 1), (9.05, "aten", 0), (8.0, "aten", 0)]
)
def test_kept_times_choose_and_only_the_winner_is_made_and_checked(aten_us, choice, made):
    graph, x = captured(softened, torch.randn(4, 8)), torch.randn(4, 8)
    RegionTimes(graph).keep([x], {"a 1": 12.0, "b 1": 9.0, "aten": aten_us})
    means = Means()
    contenders = (InAten(graph.module, "a"), InAten(graph.module, "b"))
    region, report = region_of(graph, *contenders, means=means)
    torch.testing.assert_close(region(x), softened(x))
    (found,) = report.classes.values()
    assert (found.choice, found.contender, found.how) == (choice, "b", "kept")
    assert found.us == {"a": 12.0, "b": 9.0, "aten": aten_us}
    assert means.report.compilations == made


def test_a_winner_that_has_become_wrong_sends_all_to_the_race_again():
    graph, x = captured(softened, torch.randn(4, 8)), torch.randn(4, 8)
    RegionTimes(graph).keep([x], {"a 1": 9.0, "b 1": 5.0, "aten": 99.0})
    means = Means("metal")
    contenders = (InAten(graph.module, "a"), InAten(graph.module, "b", check_error=1.0))
    region, report = region_of(graph, *contenders, means=means)
    region(x)
    (found,) = report.classes.values()
    assert (found.choice, found.contender) == ("metal", "a")
    assert "b: wrong: " in found.refused[0]
    assert means.report.compilations == 2
    again, report = region_of(graph, *contenders, means=(later := Means("metal")))
    again(x)
    assert (report.choice, report.contender) == ("metal", "a")
    assert later.report.compilations == 1  # it is known of the other that it is wrong


def change_times(change) -> None:
    kept = kept_choices()
    for device, subject, size_class, times in kept.all():
        us = {name: Time(change(subject, name)) for name in times}
        kept.keep(device, subject, size_class, us)
    kept.save()


def test_where_eager_is_known_to_win_as_a_whole_nothing_is_made():
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Tanh()).eval(), torch.randn(3, 8)

    def report_of_a_new_process():
        torch._dynamo.reset()
        kept_times.close_all()
        fast = metalgen.optimize_for_metal(model)
        with torch.no_grad():
            torch.testing.assert_close(fast(x), model(x))
        return fast.metal_report

    report_of_a_new_process()
    change_times(lambda subject, name: 1e6 if name in ("aten", "eager") else 1.0)
    report = report_of_a_new_process()
    assert [region.choice for region in report.regions] == ["metal"]
    change_times(lambda subject, name: 1.0 if name == "eager" else 50.0)
    report = report_of_a_new_process()
    (graph,) = report.graphs
    assert (graph.choice, report.compilations) == ("eager", 0)
    assert graph.reason == "eager is faster as a whole, as measured before"
    assert graph.eager_us == 1.0


def test_for_a_chip_that_is_not_here_the_cost_model_decides_and_the_report_says_so():
    layers = (nn.Linear(32, 48), nn.GELU(), nn.LayerNorm(48))
    report = metalgen.explain(nn.Sequential(*layers).eval(), torch.randn(64, 32), chip="M3 Max")
    (region,) = report.regions
    (found,) = region.classes.values()
    assert found.how == "predicted"
    assert found.metal_us > 0
    assert found.aten_us > 0
    assert "as predicted" in found.reason
    assert "as predicted" in str(report)


def test_the_model_expects_of_aten_at_least_the_time_that_memory_takes():
    chip = metalgen.chips.find_chip("M3 Max")
    x = torch.empty(4096, 4096)
    graph = captured(softened, torch.randn(4, 8))
    moved = 4 * x.numel() * 4  # two operators, each reads and writes 4 bytes an element
    least = moved / (chip.bandwidth.value * 1e9)
    assert predicted_aten(graph.module, [x], chip).seconds == pytest.approx(least, rel=0.1)


def test_wrong_options_are_refused():
    with pytest.raises(UnsupportedError, match="no chip 'M99'"):
        metalgen.optimize_for_metal(nn.ReLU(), chip="M99")
    with pytest.raises(UnsupportedError, match="a budget of -1 s"):
        metalgen.optimize_for_metal(nn.ReLU(), budget_s=-1)
    with pytest.raises(UnsupportedError, match="option speed; try policy, budget_s, chip"):
        backend(torch.fx.symbolic_trace(nn.ReLU()), [torch.ones(1)], options={"speed": 1})


def test_a_stage_can_be_asked_for_at_once():
    model, x = nn.Linear(8, 4).eval(), torch.randn(3, 8)
    assert "kernel void" in metalgen.explain(model, x, policy="metal", stage="metal")
    with pytest.raises(UnsupportedError, match="stage 'silicon'"):
        metalgen.explain(model, x, stage="silicon")
