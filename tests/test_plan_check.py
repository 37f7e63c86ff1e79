"""Does a plan fit its kernels? Everything is said before a launch."""

from __future__ import annotations

import pytest

from metalgen.air import Argument, FunctionConstant, KernelInfo
from metalgen.errors import PlanError
from metalgen.plan import compile_plan, parse_plan


def argument(index, name, type_name="float", size=4, space="device", access="read", **more):
    return Argument(
        position=index,
        name=name,
        kind="buffer",
        index=index,
        type_name=type_name,
        type_size=size,
        address_space=space,
        access=access,
        **more,
    )


def count(index, type_name="uint", size=4):
    return argument(index, "n", type_name, size, space="constant", is_reference=True)


KERNELS = {
    "f": KernelInfo("f", (argument(0, "x"), argument(1, "y", access="read_write"), count(2))),
    "wide": KernelInfo("wide", (argument(0, "y", access="write"),), max_total_threads=128),
    "shared": KernelInfo(
        "shared",
        (
            argument(0, "y", access="read_write"),
            Argument(position=1, name="t", kind="threadgroup", index=0, type_name="float"),
        ),
        threadgroup_bytes=1024,
        constants=(FunctionConstant("has_bias", 3, "bool"),),
    ),
    "structured": KernelInfo(
        "structured",
        (
            argument(0, "y", access="read_write"),
            argument(1, "p", "Params", 8, space="constant", is_reference=True),
        ),
    ),
}
OUTPUT = {"dtype": "float32", "shape": [4]}
F = {"kernel": "f", "args": ["x", "y", {"uint": 4}], "threads": 4, "group_size": 4}
WIDE = {"kernel": "wide", "args": ["y"], "threads": 4, "group_size": 4}
SHARED = {
    "kernel": "shared",
    "args": ["y"],
    "threads": 4,
    "group_size": 4,
    "threadgroup_memory": {"0": 64},
}


def check(*steps, buffers=None, allow_aten=True, outputs=None):
    plan = parse_plan(
        {"buffers": buffers or {}, "outputs": outputs or {"y": OUTPUT}, "steps": list(steps)}
    )
    compile_plan(plan, KERNELS, inputs=["x"], parameters=["w"], allow_aten=allow_aten)


@pytest.mark.parametrize(
    "steps",
    [
        [F],
        [{**F, "args": ["w", "y", {"int": 4}]}],
        [SHARED],
        [{**SHARED, "constants": {"has_bias": True}}],
        [{**SHARED, "constants": {"3": 1}}],
        [{"kernel": "structured", "args": ["y", {"struct": [{"uint": 1}, {"float": 2}]}],
          "threads": 1}],
        [{"aten": "relu", "args": ["x"], "out": "y"}],
        [{"aten": "add.Tensor", "args": ["x", "w"], "kwargs": {"alpha": 2}, "out": "y"}],
    ],
)  # fmt: skip
def test_a_plan_that_fits_is_accepted(steps):
    check(*steps)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({**F, "kernel": "g"}, "no kernel 'g' in the source; it has f, wide, shared, structured"),
        ({**F, "args": ["x", "y"]}, "kernel 'f' takes 3 arguments (device const float* x,"
         " device float* y, constant uint& n), found 2"),
        ({**F, "args": ["z", "y", {"uint": 4}]}, "unknown name 'z'; known names: w, x, y"),
        ({**F, "args": ["x", "y", {"uint": "z.numel()"}]}, "unknown name 'z'"),
        ({**F, "threads": "z.numel()"}, "unknown name 'z'"),
        ({**F, "args": ["y", "x", {"uint": 4}]}, "steps[0].args[1]: 'device float* y' may be"
         " written, but 'x' is an input or parameter"),
        ({**F, "args": ["x", {"float": 1.0}, {"uint": 4}]}, "needs a tensor's name, found a value"),
        ({**F, "args": ["x", "y", {"float": 4}]}, "'constant uint& n' takes uint, found float"),
        ({**F, "args": ["x", "y", {"uint2": [4, 4]}]}, "takes 4 bytes, the value has 8"),
        ({**F, "group_size": 2048}, "has 2048 threads, at most 1024 allowed"),
        ({**F, "group_size": [32, 64]}, "has 2048 threads, at most 1024 allowed"),
        ({**F, "group_size": 0}, "has a size below 1"),
        ({**F, "threads": -1}, "negative size, -1"),
        ({**WIDE, "group_size": 256}, "has 256 threads, at most 128 allowed"),
        ({**SHARED, "threadgroup_memory": {}}, "threadgroup arguments ['0'], the plan gives []"),
        ({**SHARED, "threadgroup_memory": {"0": 32768}}, "needs 33792 bytes of threadgroup memory"),
        ({**F, "threadgroup_memory": {"0": 4}}, "has threadgroup arguments none"),
        ({**SHARED, "constants": {"x": 1}}, "no function constant 'x'; it has has_bias"),
        ({"kernel": "structured", "args": ["y", {"struct": [{"uint": 1}]}], "threads": 1},
         "'constant Params& p' takes 8 bytes, the value has 4"),
        ({"aten": "nothing_like_it", "args": [], "out": "y"}, "ATen has no operator"),
        ({"aten": "relu_", "args": ["x"], "out": "y"}, "is random or writes in place"),
        ({"aten": "add_.Tensor", "args": ["x", "x"], "out": "y"}, "is random or writes in place"),
        ({"aten": "rand_like", "args": ["x"], "out": "y"}, "is random or writes in place"),
        ({"aten": "add.out", "args": ["x", "x"], "out": "y"}, "is random or writes in place"),
        ({"aten": "add.Nope", "args": ["x", "x"], "out": "y"}, "'add' has the overloads"),
        ({"aten": "relu", "args": ["x"], "kwargs": {"out": "y"}, "out": "y"}, "would write"),
        ({"aten": "relu", "args": ["x"], "out": "x"}, "'x' is declared neither as buffer nor"),
        ({"aten": "__class__", "args": ["x"], "out": "y"}, "ATen has no operator"),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_fit_is_refused_with_the_place(step, message):
    with pytest.raises(PlanError) as caught:
        check(step)
    assert message in str(caught.value)


def test_an_output_that_no_step_writes_is_refused():
    outputs = {"y": OUTPUT, "z": OUTPUT}
    with pytest.raises(PlanError, match=r"outputs\.z: no step writes it"):
        check(F, outputs=outputs)


def test_a_plan_may_not_declare_an_inputs_name():
    with pytest.raises(PlanError, match="'x' is already the name of an input"):
        check(F, buffers={"x": OUTPUT})


def test_sizes_may_not_need_unknown_names():
    with pytest.raises(PlanError, match=r"buffers\.t: unknown name 'q'"):
        check(F, buffers={"t": {"dtype": "float32", "shape": "q.shape"}})


def test_aten_steps_are_refused_where_the_run_forbids_them():
    with pytest.raises(PlanError, match="this run allows no ATen operators"):
        check({"aten": "relu", "args": ["x"], "out": "y"}, allow_aten=False)


ONCE = {"kernel": "f", "args": ["w", "t", {"uint": 4}], "threads": 4, "group_size": 4, "once": True}
T = {"t": OUTPUT}


def test_a_step_on_parameters_alone_may_be_done_once():
    check(ONCE, {**F, "args": ["t", "y", {"uint": 4}]}, buffers=T)


@pytest.mark.parametrize(
    ("steps", "buffers", "message"),
    [
        ([{**ONCE, "args": ["x", "t", {"uint": 4}]}, F], T, "'x' is neither a parameter nor"),
        ([{**ONCE, "threads": "x.numel()"}, F], T, "'x' is neither a parameter nor"),
        ([{**ONCE, "args": ["w", "y", {"uint": 4}]}], T, "writes the output 'y'"),
        ([ONCE, {**F, "args": ["x", "t", {"uint": 4}]}, F], T, "writes 't', which a step marked"),
        ([ONCE, F], {"t": {"dtype": "float32", "shape": "x.shape"}}, "its size needs 'x'"),
    ],
)
def test_a_step_marked_once_that_depends_on_inputs_is_refused(steps, buffers, message):
    with pytest.raises(PlanError) as caught:
        check(*steps, buffers=buffers)
    assert message in str(caught.value)
