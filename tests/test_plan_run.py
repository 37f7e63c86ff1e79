"""Running launch plans with real kernels on the tensors' own memory."""

from __future__ import annotations

import pytest
import torch

from metalgen import compile_shader
from metalgen.errors import LaunchError, PlanError
from metalgen.plan import compile_plan, kernels_of, parse_plan, run_plan

SOURCE = """
#include <metal_stdlib>
using namespace metal;

kernel void copy(device const float* x, device float* y, uint i [[thread_position_in_grid]]) {
  y[i] = x[i];
}
kernel void double_it(device const float* x, device float* y, uint i [[thread_position_in_grid]]) {
  y[i] = 2 * x[i];
}
kernel void add(device const float* a, device const float* b, device float* y, constant uint& n,
                uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] = a[i] + b[i];
}
struct Params { uint offset; float scale; packed_float3 shift; };
kernel void apply(device const float* x, device float* y, constant Params& p,
                  constant float* table, uint i [[thread_position_in_grid]]) {
  y[i] = x[i] * p.scale + float(p.offset) + p.shift[1] + table[i % 2];
}
kernel void count(device const int* x, device atomic_int* total,
                  uint i [[thread_position_in_grid]]) {
  atomic_fetch_add_explicit(total, x[i], memory_order_relaxed);
}
"""


@pytest.fixture(scope="module")
def library():
    return compile_shader(SOURCE)


def like(name):
    return {"dtype": f"{name}.dtype", "shape": f"{name}.shape"}


def launch(kernel, *args, threads="x.numel()", **more):
    return {"kernel": kernel, "args": list(args), "threads": threads, "group_size": 32, **more}


def plan(*steps, buffers=None, outputs=None):
    given = {"buffers": buffers or {}, "outputs": outputs or {"y": like("x")}}
    return parse_plan({**given, "steps": list(steps)})


def bound(library, wanted, inputs, parameters=None):
    names = list(parameters or {})
    compiled = compile_plan(wanted, kernels_of(library), inputs=inputs, parameters=names)
    return compiled.bind(library, parameters or {})


def test_steps_run_in_order_and_share_buffers(library):
    wanted = plan(
        launch("double_it", "x", "t"), launch("double_it", "t", "y"), buffers={"t": like("x")}
    )
    x = torch.rand(5, 7)
    assert torch.equal(run_plan(wanted, library, {"x": x})["y"], 4 * x)


def test_a_bound_plan_is_called_like_the_module_and_follows_the_shapes(library):
    call = bound(library, plan(launch("double_it", "x", "y")), ["x"])
    for shape in [(3,), (4, 5), (2, 3, 4), ()]:
        x = torch.rand(shape)
        assert torch.equal(call(x), 2 * x)


def test_several_outputs_come_in_the_order_declared(library):
    outputs = {"z": like("x"), "a": like("x")}
    wanted = plan(launch("copy", "x", "a"), launch("double_it", "x", "z"), outputs=outputs)
    x = torch.rand(6)
    twice, same = bound(library, wanted, ["x"])(x)
    assert torch.equal(twice, 2 * x)
    assert torch.equal(same, x)


def test_each_call_gives_memory_of_its_own(library):
    call = bound(library, plan(launch("copy", "x", "y")), ["x"])
    first = call(torch.zeros(4))
    call(torch.ones(4))
    assert torch.equal(first, torch.zeros(4))


def test_inputs_that_are_not_contiguous_are_read_in_their_logical_order(library):
    x = torch.rand(5, 7).t()
    assert torch.equal(bound(library, plan(launch("copy", "x", "y")), ["x"])(x), x)


def test_structs_and_arrays_reach_the_kernel(library):
    params = {"struct": [{"uint": "x.ndim"}, {"float": 0.5}, {"packed_float3": [1, 10, 100]}]}
    wanted = plan(launch("apply", "x", "y", params, {"float": [0.25, 0.75]}))
    x = torch.rand(1, 4)
    expected = x * 0.5 + 2 + 10 + torch.tensor([0.25, 0.75, 0.25, 0.75])
    torch.testing.assert_close(run_plan(wanted, library, {"x": x})["y"], expected)


def test_a_buffer_may_start_filled(library):
    wanted = plan(
        launch("count", "x", "total"),
        outputs={"total": {"dtype": "int32", "shape": [1], "fill": 100}},
    )
    x = torch.arange(10, dtype=torch.int32)
    for _ in range(2):
        assert run_plan(wanted, library, {"x": x})["total"].item() == 145


def test_sizes_may_depend_on_buffers_declared_later(library):
    wanted = plan(
        launch("copy", "x", "t"),
        launch("copy", "t", "y", threads="y.numel()"),
        buffers={"t": {"dtype": "float32", "shape": ["y.numel()"]}},
        outputs={"y": {"dtype": "float32", "shape": ["x.shape[0] * x.shape[1]"]}},
    )
    x = torch.rand(2, 3)
    assert torch.equal(run_plan(wanted, library, {"x": x})["y"], x.reshape(-1))


def test_numbers_among_the_inputs_reach_sizes_and_arguments(library):
    wanted = plan(
        launch("add", "x", "x", "y", {"uint": "n"}, threads="n"),
        outputs={"y": {"dtype": "float32", "shape": ["n"]}},
    )
    call = bound(library, wanted, ["x", "n"])
    x = torch.rand(8)
    assert torch.equal(call(x, 5), 2 * x[:5])
    assert torch.equal(call(x, 8), 2 * x)


def test_an_empty_grid_launches_nothing(library):
    call = bound(library, plan(launch("copy", "x", "y")), ["x"])
    assert call(torch.rand(0, 3)).shape == (0, 3)


class TestStepsMarkedOnce:
    @pytest.fixture
    def call_and_weight(self, library):
        weight = torch.rand(8)
        wanted = plan(
            launch("double_it", "w", "packed", threads="w.numel()", once=True),
            launch("add", "x", "packed", "y", {"uint": "x.numel()"}),
            buffers={"packed": like("w")},
        )
        return bound(library, wanted, ["x"], {"w": weight}), weight

    def test_run_before_the_others(self, call_and_weight):
        call, weight = call_and_weight
        x = torch.rand(8)
        assert torch.equal(call(x), x + 2 * weight)

    def test_are_not_repeated_while_parameters_stay(self, call_and_weight):
        call, weight = call_and_weight
        x = torch.rand(8)
        before = call(x)
        weight.data.numpy()[:] = 0  # behind PyTorch's back: its version does not change
        assert torch.equal(call(x), before)

    def test_are_repeated_when_a_parameter_changes(self, call_and_weight):
        call, weight = call_and_weight
        x = torch.rand(8)
        call(x)
        weight.zero_()
        assert torch.equal(call(x), x)


def aten(name, *args, out="y", **more):
    return {"aten": name, "args": list(args), "out": out, **more}


def test_an_aten_step_mixes_with_kernels(library):
    wanted = plan(
        aten("sum.dim_IntList", "x", [{"int": "x.ndim - 1"}], out="s"),
        launch("double_it", "s", "y", threads="s.numel()"),
        buffers={"s": {"dtype": "float32", "shape": ["x.shape[0]"]}},
        outputs={"y": {"dtype": "float32", "shape": ["x.shape[0]"]}},
    )
    x = torch.rand(3, 4)
    assert torch.allclose(run_plan(wanted, library, {"x": x})["y"], 2 * x.sum(1))


def test_an_aten_step_may_have_several_results(library):
    half = {"dtype": "float32", "shape": ["x.shape[0]"]}
    wanted = plan(
        aten("max.dim", "x", 1, out=["values", "where"]),
        outputs={"values": half, "where": {"dtype": "int64", "shape": ["x.shape[0]"]}},
    )
    x = torch.rand(3, 4)
    found = run_plan(wanted, library, {"x": x})
    assert torch.equal(found["values"], x.max(1).values)
    assert torch.equal(found["where"], x.max(1).indices)


def test_a_view_made_by_aten_does_not_expose_the_input(library):
    wanted = plan(
        aten("reshape", "x", [-1], out="flat"),
        launch("double_it", "flat", "flat"),
        aten("relu", "flat"),
        buffers={"flat": {"dtype": "float32", "shape": ["x.numel()"]}},
        outputs={"y": {"dtype": "float32", "shape": ["x.numel()"]}},
    )
    x = torch.rand(2, 3)
    before = x.clone()
    assert torch.equal(run_plan(wanted, library, {"x": x})["y"], 2 * before.reshape(-1))
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (
            plan(
                launch("copy", "x", "y"),
                outputs={"y": {"dtype": "float32", "shape": ["x.shape[0] - 9"]}},
            ),
            PlanError,
            "outputs.y: size 'x.shape[0] - 9' is negative",
        ),
        (
            plan(
                launch("copy", "x", "y"),
                outputs={"y": {"dtype": "float32", "shape": ["x.shape[5]"]}},
            ),
            PlanError,
            "outputs.y: 'x' has 2 dimensions, so there is no shape[5]",
        ),
        (plan(launch("copy", "x", "y", threads="0 - 1")), PlanError, "steps[0]: the launch"),
        (
            plan(launch("copy", "x", "y", threads="x.shape[0] - 9")),
            PlanError,
            "steps[0]: launch size 'x.shape[0] - 9' is -7",
        ),
        (
            plan(launch("copy", "x", "y", group_size="x.numel() * 1024")),
            PlanError,
            "has 6144 threads, at most 1024 allowed",
        ),
        (
            plan(launch("add", "x", "x", "y", {"uint": "x.shape[0] - 9"})),
            PlanError,
            "steps[0].args[3]: -7 does not fit uint",
        ),
        (
            plan(
                launch("copy", "t", "y"),
                buffers={"t": {"dtype": "float32", "shape": [10**6, 10**9]}},
            ),
            PlanError,
            "'t': cannot allocate",
        ),
        (
            plan(
                launch("copy", "x", "y"),
                buffers={
                    "t": {"dtype": "float32", "shape": ["u.numel()"]},
                    "u": {"dtype": "float32", "shape": ["t.numel()"]},
                },
            ),
            PlanError,
            "the sizes of t, u depend on one another",
        ),
        (
            plan(launch("copy", "x", "y"), outputs={"y": {"dtype": "float16", "shape": "x.shape"}}),
            LaunchError,
            "steps[0]: kernel 'copy': argument 'y'",
        ),
        (
            plan(aten("sum", "x")),
            LaunchError,
            "steps[0]: aten 'sum' gives [] of torch.float32, but 'y' is declared [2, 3]",
        ),
        (plan(aten("mm", "x", "x")), LaunchError, "steps[0]: aten 'mm' raised"),
    ],
)
def test_what_goes_wrong_is_told_with_its_place(library, wanted, error, message):
    with pytest.raises(error) as caught:
        run_plan(wanted, library, {"x": torch.rand(2, 3)})
    assert message in str(caught.value)


def test_a_wrong_number_of_inputs_is_refused(library):
    call = bound(library, plan(launch("copy", "x", "y")), ["x"])
    with pytest.raises(LaunchError, match=r"takes 1 inputs \(x\)"):
        call(torch.rand(2), torch.rand(2))
