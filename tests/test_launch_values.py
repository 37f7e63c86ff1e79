"""Python values as the bytes of Metal's types."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metalgen.air import Argument, Field
from metalgen.errors import LaunchError
from metalgen.library.parameter import parameter_of

INTEGERS = {
    "char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16,
    "int": np.int32, "uint": np.uint32, "long": np.int64, "ulong": np.uint64,
}  # fmt: skip


def parameter(type_name, *, size=0, fields=(), reference=True):
    described = Argument(
        position=0,
        name="value",
        kind="buffer",
        index=0,
        type_name=type_name,
        type_size=size,
        address_space="constant",
        access="read",
        is_reference=reference,
        fields=fields,
    )
    return parameter_of([described])


def pack(type_name, value, **more):
    return parameter(type_name, **more).source_of(value)


@given(type_name=st.sampled_from(sorted(INTEGERS)), value=st.integers(-(2**65), 2**65))
def test_integers_are_packed_in_range_and_refused_outside(type_name, value):
    limits = np.iinfo(INTEGERS[type_name])
    if limits.min <= value <= limits.max:
        assert pack(type_name, value) == INTEGERS[type_name](value).tobytes()
    else:
        with pytest.raises(LaunchError, match=f"expected {limits.min} to {limits.max}"):
            pack(type_name, value)


@given(value=st.floats(width=32))
def test_floats_are_packed_as_they_are(value):
    assert pack("float", value) == np.float32(value).tobytes()


@given(value=st.floats(-60000, 60000))
def test_halves_are_rounded_to_nearest(value):
    assert pack("half", value) == np.float16(value).tobytes()


@given(value=st.floats(-3.3e38, 3.3e38) | st.sampled_from([np.inf, -np.inf, -0.0]))
def test_bfloats_are_rounded_as_torch_rounds_them(value):
    expected = torch.tensor([value], dtype=torch.float32).bfloat16().view(torch.int16)
    assert pack("bfloat", value) == expected.numpy().tobytes()


def test_a_nan_stays_one_in_every_floating_type():
    assert np.isnan(np.frombuffer(pack("float", np.nan), np.float32))
    assert np.isnan(np.frombuffer(pack("half", np.nan), np.float16))
    bits = np.frombuffer(pack("bfloat", np.nan), np.int16)
    assert torch.from_numpy(bits.copy()).view(torch.bfloat16).isnan()


@pytest.mark.parametrize(
    ("type_name", "value", "message"),
    [
        ("int", 1.5, "expected an integer for int, found 1.5"),
        ("float", 1e60, "too large for float"),
        ("half", 1e6, "too large for half"),
        ("bool", 2, "expected a bool, found 2"),
        ("uint", "three", "expected numbers, found a str"),
        ("uint3", [1, 2], "expected 3 numbers for each uint3, found 2"),
        ("uint", [], "expected 1 numbers for each uint, found 0"),
        ("int", float("nan"), "expected an integer"),
        ("mystery", 3, "expected a tensor or bytes, found a int"),
    ],
)
def test_what_does_not_fit_is_refused(type_name, value, message):
    with pytest.raises(LaunchError, match=message):
        pack(type_name, value)


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("int", True, np.int32(1)),
        ("int", 3.0, np.int32(3)),
        ("float", 7, np.float32(7)),
        ("bool", True, np.bool_(True)),
        ("uint", np.uint16(9), np.uint32(9)),
        ("float", np.float64(0.5), np.float32(0.5)),
        ("uint", torch.Size([5])[0], np.uint32(5)),
        ("uint2", (1, 2), np.array([1, 2], np.uint32)),
        ("float3", [1, 2, 3], np.array([1, 2, 3, 0], np.float32)),
        ("packed_float3", [1, 2, 3], np.array([1, 2, 3], np.float32)),
        ("half4", np.arange(4), np.arange(4, dtype=np.float16)),
        ("float2", 1 + 2j, np.array([1, 2], np.float32)),
        ("float2x3", [[1, 2, 3], [4, 5, 6]], np.array([1, 2, 3, 0, 4, 5, 6, 0], np.float32)),
        ("size_t", 3, np.uint64(3)),
    ],
)
def test_numbers_become_the_declared_type(type_name, value, expected):
    assert pack(type_name, value) == expected.tobytes()


@given(
    shape=st.lists(st.integers(0, 2**40), min_size=1, max_size=8),
    type_name=st.sampled_from(["long", "ulong"]),
)
def test_sequences_fill_arrays(shape, type_name):
    packed = pack(type_name, shape, reference=False)
    assert packed == np.array(shape, INTEGERS[type_name]).tobytes()


def test_bytes_are_taken_as_they_are():
    for value in (b"abcdefgh", bytearray(b"abcdefgh"), memoryview(b"abcdefgh")):
        assert pack("mystery", value) == b"abcdefgh"


PARAMS = (
    Field("m", "int", offset=0, size=4),
    Field("stride", "long", offset=8, size=8, count=2),
    Field("scale", "float", offset=24, size=4),
    Field("inner", "Inner", offset=28, size=4, fields=(Field("flag", "bool", offset=0, size=1),)),
)
STRUCT = {"size": 32, "fields": PARAMS}


def test_structs_are_packed_member_by_member():
    expected = np.zeros(
        1, [("m", "<i4"), ("_", "<i4"), ("s", "<i8", 2), ("f", "<f4"), ("b", "<i4")]
    )
    expected["m"], expected["s"], expected["f"], expected["b"] = 3, [10, 20], 0.5, 1
    assert pack("Params", [3, [10, 20], 0.5, [True]], **STRUCT) == expected.tobytes()
    by_name = {"scale": 0.5, "m": 3, "inner": {"flag": True}, "stride": (10, 20)}
    assert pack("Params", by_name, **STRUCT) == expected.tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3, [10, 20], 0.5], "expected 4 members, found 3"),
        ({"m": 3}, r"expected members \['m', 'stride', 'scale', 'inner'\], found \['m'\]"),
        ([3, [10], 0.5, [True]], "member 'stride': expected 16 bytes, found 8"),
        (3, "expected a mapping or sequence of members, found a int"),
    ],
)
def test_structs_of_another_shape_are_refused(value, message):
    with pytest.raises(LaunchError, match=message):
        pack("Params", value, **STRUCT)


def test_casts_give_scalars_a_type_where_the_kernel_gives_none():
    unknown = parameter("mystery")
    assert unknown.source_of(3, cast="int32") == np.int32(3).tobytes()
    assert unknown.source_of(3, cast="fp16") == np.float16(3).tobytes()
    with pytest.raises(LaunchError, match="unknown type 'int33'"):
        unknown.source_of(3, cast="int33")
