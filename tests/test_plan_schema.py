"""The form of launch plans: what is accepted, and errors that name the place."""

from __future__ import annotations

import json
import struct

import pytest

from metalgen.errors import PlanError
from metalgen.plan import TensorType, parse_plan
from metalgen.plan.constants import Constant, parse_constant

STEP = {"kernel": "f", "args": ["x", "y"], "threads": 4, "group_size": 4}
OUTPUT = {"dtype": "float32", "shape": [4]}


def plan(**changes):
    return {"outputs": {"y": OUTPUT}, "steps": [STEP], **changes}


def step(**changes):
    return plan(steps=[{k: v for k, v in {**STEP, **changes}.items() if v is not None}])


FULL = {
    "buffers": {"partial": {"dtype": "float32", "shape": ["x.shape[0]", 32], "fill": 0}},
    "outputs": {"y": {"dtype": "x.dtype", "shape": "x.shape"}},
    "steps": [
        {
            "kernel": "normalize_rows",
            "args": ["y", "x", "fc.weight", {"uint": "x.shape[1]"}, {"float": 1e-5}],
            "threadgroups": [1, "x.shape[0]"],
            "group_size": [256, 1],
            "threadgroup_memory": {"0": "4 * x.shape[1]"},
            "constants": {"has_bias": True, "3": 2},
            "once": True,
        },
        {"aten": "addmm", "args": ["x", [1, {"int": "x.ndim"}]], "kwargs": {"beta": 1}, "out": "y"},
    ],
}


def test_a_plan_survives_being_written_and_read_again():
    read = parse_plan(json.dumps(FULL))
    assert parse_plan(read.model_dump_json(exclude_defaults=True)) == read
    assert json.loads(read.model_dump_json(exclude_defaults=True)) == json.loads(
        json.dumps({**FULL, "steps": [{**FULL["steps"][0], "constants": {"has_bias": 1, "3": 2}},
                                      FULL["steps"][1]]})
    )  # fmt: skip


def test_outputs_keep_their_order():
    outputs = dict.fromkeys("zab", OUTPUT)
    assert list(parse_plan(plan(outputs=outputs)).outputs) == ["z", "a", "b"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{", "the launch plan is not valid JSON"),
        ("[]", "input should be a valid dictionary"),
        ({}, "outputs: required but missing; steps: required but missing"),
        (plan(extra=1), "extra: unknown key"),
        (plan(outputs={}), "outputs:"),
        (plan(steps=[]), "steps:"),
        (plan(steps=[{"args": []}]), 'steps[0]: expected an object with either "kernel" or "aten"'),
        (plan(steps=[7]), 'steps[0]: expected an object with either "kernel" or "aten"'),
        (step(threads=None), "steps[0]: expected either threads or threadgroups, and not both"),
        (step(threadgroups=1), "steps[0]: expected either threads or threadgroups, and not both"),
        (step(threads=None, threadgroups=1, group_size=None), "expected group_size beside"),
        (step(threads=[1, 1, 1, 1]), "steps[0].threads: expected one to three sizes, found 4"),
        (step(threads="x.shape[0]/2"), "steps[0].threads: '/' is not allowed"),
        (step(args=["x", 3]), "steps[0].args[1]: expected a tensor's name or a typed value"),
        (step(args=[{"uin": 3}]), "steps[0].args[0]: unknown type 'uin'"),
        (step(args=[{"uint": 1, "int": 2}]), "steps[0].args[0]: expected one type and its value"),
        (step(args=[{"uint": 1.5}]), "uint takes a whole number or an expression, found 1.5"),
        (step(args=[{"float2": [1.0]}]), "float2 takes 2 components each, found 1 values"),
        (step(args=[{"struct": []}]), "expected a list of members"),
        (step(once="yes"), "steps[0].once: input should be a valid boolean"),
        (step(unknown=1), "steps[0].unknown: unknown key"),
        (plan(outputs={"y": {"dtype": "f32", "shape": [1]}}), "outputs.y.dtype: expected"),
        (plan(outputs={"y": {"dtype": "float64", "shape": [1]}}), "outputs.y.dtype: expected"),
        (plan(outputs={"y": {"dtype": "float32"}}), "outputs.y.shape: required but missing"),
        (plan(outputs={"y": {"dtype": "float32", "shape": "x"}}), "expected a list of sizes or"),
        (plan(buffers={"y": OUTPUT}), "'y' is both a buffer and an output"),
    ],
)
def test_a_malformed_plan_is_refused_with_the_place_and_what_was_expected(raw, message):
    with pytest.raises(PlanError) as caught:
        parse_plan(raw)
    assert message in str(caught.value)


def test_many_faults_are_told_briefly():
    faulty = plan(steps=[{**STEP, "args": [1] * 20}])
    with pytest.raises(PlanError, match="and 15 more"):
        parse_plan(faulty)


SCOPE = {"x": TensorType((6, 10), "float32"), "alpha": 0.25}


@pytest.mark.parametrize(
    ("raw", "packed"),
    [
        ({"uint": "x.shape[1]"}, struct.pack("<I", 10)),
        ({"int": -3}, struct.pack("<i", -3)),
        ({"uint32_t": 7}, struct.pack("<I", 7)),
        ({"ulong": 2**40}, struct.pack("<Q", 2**40)),
        ({"bool": True}, b"\1"),
        ({"float": 0.5}, struct.pack("<f", 0.5)),
        ({"float": "alpha"}, struct.pack("<f", 0.25)),
        ({"float": "x.shape[0]"}, struct.pack("<f", 6)),
        ({"float": "-inf"}, struct.pack("<f", float("-inf"))),
        ({"half": 0.5}, struct.pack("<e", 0.5)),
        ({"bfloat": 1.0}, b"\x80\x3f"),
        ({"bfloat": 1.00390625}, b"\x80\x3f"),  # halfway: to the even neighbour
        ({"bfloat": 1.01171875}, b"\x82\x3f"),
        ({"uint2": [1, 2]}, struct.pack("<2I", 1, 2)),
        ({"float3": [1, 2, 3]}, struct.pack("<3f4x", 1, 2, 3)),
        ({"packed_float3": [1, 2, 3]}, struct.pack("<3f", 1, 2, 3)),
        ({"int": [1, 2, 3]}, struct.pack("<3i", 1, 2, 3)),
        ({"uint2": [1, 2, 3, 4]}, struct.pack("<4I", 1, 2, 3, 4)),
        ({"struct": [{"uint": 1}, {"ulong": 2}]}, struct.pack("<I4xQ", 1, 2)),
        ({"struct": [{"float3": [1, 2, 3]}, {"bool": 1}]}, struct.pack("<3f4x?15x", 1, 2, 3, 1)),
        ({"struct": [{"uchar": 1}, {"half": 2}, {"uint": 3}]}, struct.pack("<BxeI", 1, 2, 3)),
    ],
)  # fmt: skip
def test_values_are_laid_out_as_metal_lays_them_out(raw, packed):
    value = parse_constant(raw)
    assert value.pack(SCOPE) == packed
    assert value.size == len(packed)


@pytest.mark.parametrize("raw", [{"uint": -1}, {"uint": 2**32}, {"char": 200}, {"half": 1e6}])
def test_a_value_that_does_not_fit_its_type_is_refused(raw):
    with pytest.raises(PlanError, match="does not fit"):
        parse_constant(raw).pack(SCOPE)


def test_a_list_as_long_as_its_vector_is_one_vector():
    single, several = parse_constant({"uint2": [1, 2]}), parse_constant({"uint": [1, 2]})
    assert isinstance(single, Constant)
    assert isinstance(several, Constant)
    assert (single.is_array, several.is_array) == (False, True)
