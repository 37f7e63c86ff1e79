"""Every stage from graph to kernels can be printed, and what is malformed is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from typer.testing import CliRunner

import metalgen
from metalgen.cli.app import make_app
from metalgen.errors import UnsupportedError
from metalgen.optimize.report import STAGES, GraphReport, RegionReport
from metalgen.proposers.builtin.assemble import emitted
from metalgen.proposers.builtin.indexing import Index
from metalgen.proposers.builtin.loop_form import LoopForm
from metalgen.proposers.builtin.loop_verify import verify_loops
from metalgen.proposers.builtin.schedules import PerElement, Tile, grid_over
from metalgen.proposers.builtin.subgraph import subgraph_kernels

EXAMPLES = Path(__file__).parents[1] / "examples/problems"


def normalized(x, w):
    return (torch.softmax(x @ w, -1), torch.tanh(x).sum(-1))


@pytest.fixture(scope="module")
def form() -> LoopForm:
    graph = make_fx(normalized, tracing_mode="fake")(torch.randn(64, 48), torch.randn(48, 40)).graph
    return subgraph_kernels(graph, ()).assembly.loops


def changed(form: LoopForm, **fields: object) -> LoopForm:
    """The form with its first statement changed."""
    first, *rest = form.nests
    statement = replace(first.statements[0], **fields)
    nest = replace(first, statements=(statement, *first.statements[1:]))
    return replace(form, nests=(nest, *rest))


def test_the_loop_form_shows_loops_products_and_reductions(form):
    verify_loops(form)
    text = str(form)
    assert "product parallel(" in text
    assert " < 48:" in text
    assert "dot(x_1[" in text
    assert "max(" in text
    assert "sum(tanh(x_1[" in text
    assert all(len(line) <= 140 for line in text.splitlines())


def test_the_loop_form_says_which_threads_run_a_kernel_and_the_kernel_is_launched_so():
    graph = make_fx(normalized, tracing_mode="fake")(torch.randn(64, 48), torch.randn(48, 40)).graph
    made = subgraph_kernels(graph, ()).assembly
    product, rows, _ = made.loops.nests
    assert "on tiles of 64 x 64, 32 terms at a time, groups of 32 x 16" in str(made.loops)
    assert "on a SIMD-group each, groups of 32 x 8" in str(made.loops)
    steps = {step["kernel"]: step for step in made.plan["steps"]}
    assert steps[product.name]["group_size"] == [32, 16, 1]
    assert steps[rows.name]["group_size"] == [32, 8]


def test_kernels_are_written_from_the_loop_form_alone(form):
    first, *rest = form.nests
    kernel, *_ = emitted(form)
    smaller = replace(first, name="other", schedule=Tile(16, 32, 32, 8))
    other, *unchanged = emitted(replace(form, nests=(smaller, *rest)))
    assert "float tile_a[64][32]" in kernel.source
    assert "float tile_a[16][32]" in other.source
    assert other.step["kernel"] == "other"
    assert other.step["threadgroups"] == [2, 4, 1]
    assert [each.source for each in unchanged] == [each.source for each in emitted(form)[1:]]


def test_an_axis_without_its_loop_is_refused(form):
    with pytest.raises(UnsupportedError, match="which no loop around it has"):
        verify_loops(changed(form, inner=()))


def test_a_store_that_all_iterations_of_an_axis_share_is_refused(form):
    row, column = form.nests[0].axes
    with pytest.raises(UnsupportedError, match="written twice, by all iterations of row"):
        verify_loops(changed(form, target=Index.of(column)))
    past = Index.of(row) * 41 + Index.of(column)
    with pytest.raises(UnsupportedError, match="is stored beyond its end"):
        verify_loops(changed(form, target=past))


def test_reading_beyond_the_end_and_what_is_not_in_memory_is_refused(form):
    memory = dict(form.buffers)
    with pytest.raises(UnsupportedError, match="reads 'x_1', which is not in memory yet"):
        verify_loops(
            replace(form, buffers=memory | {"x_1": replace(memory["x_1"], role="between")})
        )
    short = replace(memory["x_1"], shape=(Index.of(64), Index.of(47)))
    with pytest.raises(UnsupportedError, match="reads beyond the end of 'x_1'"):
        verify_loops(replace(form, buffers=memory | {"x_1": short}))


def test_kernels_in_the_wrong_order_are_refused(form):
    with pytest.raises(UnsupportedError, match="not in memory yet"):
        verify_loops(replace(form, nests=form.nests[::-1]))


def test_an_output_that_nothing_writes_and_one_written_twice_are_refused(form):
    with pytest.raises(UnsupportedError, match="nothing writes missing"):
        verify_loops(replace(form, outputs=("missing",)))
    with pytest.raises(UnsupportedError, match="is written twice"):
        verify_loops(replace(form, nests=(*form.nests, form.nests[-1])))


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (Tile(128, 128, 32, 64), "2048 threads are more than 1024"),
        (Tile(256, 64, 32, 16), "42112 bytes are more than 32768"),
        (PerElement(grid_over(())), "a product nest has no PerElement"),
    ],
)
def test_a_schedule_that_metal_cannot_run_is_refused(form, schedule, reason):
    first, *rest = form.nests
    with pytest.raises(UnsupportedError, match=reason):
        verify_loops(replace(form, nests=(replace(first, schedule=schedule), *rest)))


def test_a_report_prints_every_stage_of_a_model_and_shares_of_time():
    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)).eval()
    report = metalgen.explain(model, torch.randn(4, 8), policy="metal")
    graph, loops, metal, plan = map(report.stage, STAGES)
    assert "aten.addmm" in graph
    assert "sum(" in loops
    assert "kernel void" in metal
    assert '"steps"' in plan
    assert all(region.name in loops for region in report.regions)
    shares = [report.graphs[0].time_share(region) for region in report.regions]
    assert sum(shares) == pytest.approx(1)
    with pytest.raises(UnsupportedError, match="stage 'silicon'; graph, loops, metal, plan"):
        report.stage("silicon")


def test_a_share_of_time_counts_each_region_where_it_runs():
    metal = RegionReport("a", ("mm",), choice="metal", metal_us=30.0, aten_us=90.0)
    aten = RegionReport("b", ("mm",), choice="aten", metal_us=50.0, aten_us=10.0)
    unknown = RegionReport("c", ("sort",), choice="aten")
    graph = GraphReport([metal, aten, unknown])
    assert [graph.time_share(each) for each in graph.regions] == [0.75, 0.25, None]


@pytest.mark.parametrize(("stage", "expected"), [("loops", "parallel("), ("metal", "kernel void")])
def test_the_command_prints_a_stage_of_a_problem(stage, expected):
    torch._dynamo.reset()
    problem = str(EXAMPLES / "level1/mean_over_rows.py")
    result = CliRunner().invoke(make_app(["explain"]), ["explain", problem, "--stage", stage])
    assert result.exit_code == 0, result.output
    assert "region_0" in result.output
    assert expected in result.output


def test_the_command_refuses_a_stage_that_there_is_not():
    arguments = ["explain", str(EXAMPLES / "level1/softmax.py"), "--stage", "silicon"]
    assert CliRunner().invoke(make_app(["explain"]), arguments).exit_code == 2
