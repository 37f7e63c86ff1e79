"""What the Metal library computes by itself, on the software device, against Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import metalgen
from metalgen.compiler import CompileOptions

SAFE = CompileOptions(math="safe")
METAL = {torch.float32: "float", torch.float16: "half", torch.int32: "int", torch.int64: "long"}


def evaluate(expressions, x, dtype, *, element=None, count=None, before=""):
    """One row per expression in `v`, one column per element of `x`."""
    count = x.numel() if count is None else count
    element = element or METAL[x.dtype]
    assignments = "".join(f"y[{k} * n + i] = {e}; " for k, e in enumerate(expressions))
    source = (
        f"#include <metal_stdlib>\nusing namespace metal;\n{before}\n"
        f"kernel void run(device {METAL[dtype]}* y, device const {element}* x, constant uint& n,"
        f" uint i [[thread_position_in_grid]]) {{ const {element} v = x[i]; {assignments} }}"
    )
    y = torch.zeros(len(expressions), count, dtype=dtype)
    metalgen.compile_shader(source, options=SAFE).run(y, x, count, threads=count)
    return y


def wrapped(value, bits=32):
    """A Python integer as a two's complement number of `bits` bits."""
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def limited(value, bits=32):
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


K = 123456789
INTEGERS = {
    "clz(v)": lambda v: 32 - (v % 2**32).bit_length(),
    "ctz(v)": lambda v: ((v % 2**32 & -(v % 2**32)).bit_length() - 1) % 33,
    "popcount(v)": lambda v: (v % 2**32).bit_count(),
    "reverse_bits(v)": lambda v: wrapped(int(f"{v % 2**32:032b}"[::-1], 2)),
    "rotate(v, 5)": lambda v: wrapped((v % 2**32) << 5 | (v % 2**32) >> 27),
    f"mulhi(v, {K})": lambda v: v * K >> 32,
    f"int(mulhi(uint(v), {K}u))": lambda v: wrapped((v % 2**32) * K >> 32),
    f"madhi(v, {K}, 7)": lambda v: wrapped((v * K >> 32) + 7),
    f"int(absdiff(v, {K}) >> 1)": lambda v: abs(v - K) >> 1,
    f"addsat(v, {K})": lambda v: limited(v + K),
    f"subsat(v, {K})": lambda v: limited(v - K),
    f"madsat(v, 3, {K})": lambda v: limited(v * 3 + K),
    f"hadd(v, {K})": lambda v: (v + K) >> 1,
    f"rhadd(v, {K})": lambda v: (v + K + 1) >> 1,
    "mad24(v, 3, 4)": lambda v: wrapped(wrapped(v, 24) * 3 + 4),
    "int(mul24(uint(v), 3u))": lambda v: wrapped((v % 2**24) * 3),
    "extract_bits(v, 4, 7)": lambda v: wrapped(v >> 4, 7),
    "int(extract_bits(uint(v), 4, 7))": lambda v: v >> 4 & 127,
    "int(extract_bits(uint(v), 0, 32))": lambda v: v,
    "extract_bits(v, 3, 0)": lambda v: 0,
    "extract_bits(short(v), 2, 3)": lambda v: wrapped(v >> 2, 3),
    "insert_bits(v, -1, 8, 5)": lambda v: wrapped(v | 0x1F00),
    "insert_bits(v, 9, 0, 32)": lambda v: 9,
    "median3(v, -5, 5)": lambda v: max(-5, min(5, v)),
    "abs(char(v))": lambda v: wrapped(abs(wrapped(v, 8)), 8),
    "(int3(v) >> int3(0, 1, 2)).z": lambda v: v >> 2,
    "mulhi(short(v), short(12345))": lambda v: wrapped(v, 16) * 12345 >> 16,
    "int(insert_bits(uint2(v), uint2(5), 4, 3).y)": lambda v: wrapped(v & ~0x70 | 0x50),
}


def test_integer_functions():
    x = torch.tensor([0, 1, -1, 2**31 - 1, -(2**31), 12345, -98765, 7], dtype=torch.int32)
    results = evaluate(list(INTEGERS), x, torch.int32)
    for (expression, reference), row in zip(INTEGERS.items(), results, strict=True):
        assert row.tolist() == [reference(v) for v in x.tolist()], expression


def test_products_of_64_bits():
    k = -7777777777777777
    x = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 1234567890123, -9876543210987])
    signed, unsigned = evaluate([f"mulhi(v, {k}L)", f"long(mulhi(ulong(v), {-k}ul))"], x, x.dtype)
    assert signed.tolist() == [v * k >> 64 for v in x.tolist()]
    assert unsigned.tolist() == [wrapped((v % 2**64) * -k >> 64, 64) for v in x.tolist()]


SPECIAL = [0.0, -0.0, 1, -1, 0.5, 3.7, -2.5, 1e38, math.inf, -math.inf, math.nan, 8, 7.999999]
TINY = [1e-42, -3e-39, 1e-45]
PARTS = """
float fraction(float x) { int e; return frexp(x, e); }
int exponent(float x) { int e; frexp(x, e); return e; }
float rest(float x) { float whole; return modf(x, whole); }
float whole(float x) { float w; modf(x, w); return w; }
half fraction(half x) { int e; return frexp(x, e); }
int exponent(half x) { int e; frexp(x, e); return e; }
"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_parts_of_floats(dtype):
    x = torch.tensor([*SPECIAL, *TINY], dtype=dtype)
    mantissa, exponents = np.frexp(x.numpy())
    # C leaves the exponent of infinities and NaNs open; Metal's is 0.
    exponents = np.where(np.isfinite(x.numpy()), exponents, 0)
    (fraction,) = evaluate(["fraction(v)"], x, dtype, before=PARTS)
    (exponent,) = evaluate(["exponent(v)"], x, torch.int32, before=PARTS)
    np.testing.assert_array_equal(fraction.numpy(), mantissa)
    np.testing.assert_array_equal(exponent.numpy(), exponents)


def test_modf_splits_as_c_does():
    x = torch.tensor(SPECIAL)
    rest, whole = evaluate(["rest(v)", "whole(v)"], x, torch.float32, before=PARTS)
    expected_rest, expected_whole = np.modf(x.numpy())
    np.testing.assert_array_equal(rest.numpy(), expected_rest)
    np.testing.assert_array_equal(np.signbit(rest.numpy()), np.signbit(expected_rest))
    np.testing.assert_array_equal(whole.numpy(), expected_whole)


def test_classification():
    x = torch.tensor([*SPECIAL, *TINY])
    names = ["isnan", "isinf", "isfinite", "signbit", "isnormal"]
    smallest = torch.finfo(torch.float32).tiny
    normal = x.isfinite() & (x.abs() >= smallest)
    expected = torch.stack([x.isnan(), x.isinf(), x.isfinite(), x.signbit(), normal]).int()
    scalar = evaluate([f"int({name}(v))" for name in names], x, torch.int32)
    vector = evaluate([f"int({name}(float3(0, v, 1)).y)" for name in names], x, torch.int32)
    assert torch.equal(scalar, expected)
    assert torch.equal(vector, expected)


def smoothstep(t):
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


REALS = {
    "sign(v)": torch.sign,
    "step(0.5f, v)": lambda t: (t >= 0.5).double(),
    "smoothstep(0.0f, 1.0f, v)": smoothstep,
    "mix(1.0f, 3.0f, v)": lambda t: 1 + 2 * t,
    "saturate(v)": lambda t: t.clamp(0, 1),
    "fract(v)": lambda t: t - t.floor(),
    "median3(v, 0.3f, 0.7f)": lambda t: t.clamp(0.3, 0.7),
    "fdim(v, 0.5f)": lambda t: (t - 0.5).clamp(min=0),
    "copysign(v, -1.0f)": lambda t: -t.abs(),
    "ldexp(v, 3)": lambda t: t * 8,
    "exp10(v)": lambda t: 10**t,
    "sinpi(v)": lambda t: torch.sin(math.pi * t),
    "powr(abs(v), 2.5f)": lambda t: t.abs() ** 2.5,
    "divide(v, 3.0f)": lambda t: t / 3,
    "float(half(v) * 2.0h)": lambda t: (t.half() * 2).double(),
    "float(bfloat(v) + bfloat(1.0f))": lambda t: (t.bfloat16() + 1).double(),
    "float(bfloat2(half2(v, 1)).x)": lambda t: t.half().bfloat16().double(),
    "select(float4(1), float4(2), bool4(v > 0, 0, 1, v > 1)).x": lambda t: 1 + (t > 0).double(),
    "float(any(float3(v) > float3(0, 1, 5)))": lambda t: (t > 0).double(),
    "float(all(float3(v) > float3(0, 0.5, -5)))": lambda t: (t > 0.5).double(),
    "(float4(v, 1, 2, 3).wzyx * float4(1, 2, 3, v)).w": lambda t: t * t,
    "length(float3(v, 2, 3))": lambda t: (t * t + 13).sqrt(),
    "distance(float2(v, 1), float2(0, 2))": lambda t: (t * t + 1).sqrt(),
    "normalize(float2(v, 1)).y": lambda t: 1 / (t * t + 1).sqrt(),
    "cross(float3(v, 2, 3), float3(1, 5, 2)).y": lambda t: 3 - 2 * t,
    "reflect(float2(v, 2), float2(1, 0)).x": lambda t: -t,
    "faceforward(float2(v), float2(1), float2(1)).x": lambda t: -t,
    "float(ilogb(exp2(v)))": lambda t: t.floor(),
}


def test_maths_made_of_other_functions():
    x = torch.linspace(-1.3, 2, 14)
    results = evaluate(list(REALS), x, torch.float32)
    for (expression, reference), row in zip(REALS.items(), results, strict=True):
        torch.testing.assert_close(
            row.double(), reference(x.double()), rtol=2e-6, atol=1e-6, msg=f"in {expression}"
        )


def test_nextafter_steps_to_the_neighbour():
    x = torch.tensor([0.0, 1, -1, 1e-45, 3.4e38, math.inf])
    (up,) = evaluate(["nextafter(v, 1e38f * 10)"], x, torch.float32)
    assert torch.equal(up, torch.nextafter(x, torch.tensor(math.inf)))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_matrices(size):
    m = torch.randn(5, size, size)
    padded = torch.zeros(5, size, 4 if size > 2 else 2)
    padded[:, :, :size] = m  # a row of `padded` is a column of Metal's matrix
    vector = ", ".join("1234"[:size])
    expressions = [
        "determinant(v)",
        f"(v * float{size}({vector}))[1]",
        f"(float{size}({vector}) * v)[1]",
        "(v * transpose(v))[0][1]",
        f"(2.0f * v - v + float{size}x{size}(1.0f))[1][1]",
    ]
    results = evaluate(
        expressions, padded, torch.float32, element=f"float{size}x{size}", count=len(m)
    )
    column = torch.arange(1, size + 1.0)
    expected = torch.stack(
        [
            torch.linalg.det(m),
            (m.mT @ column)[:, 1],
            (m @ column)[:, 1],
            (m.mT @ m)[:, 1, 0],
            m[:, 1, 1] + 1,
        ]
    )
    torch.testing.assert_close(results, expected, rtol=1e-4, atol=1e-4)


def test_packing_rounds_and_clamps():
    x = torch.tensor([[0.1, 0.5, 0.9, 1.0], [0, -1, 2, 0.25], [0.3, 0.7, 0.2, -0.6]])
    packed, back, colour = evaluate(
        [
            "as_type<int>(pack_float_to_unorm4x8(v))",
            "int(1e6f * unpack_snorm2x16_to_float(pack_float_to_snorm2x16(v.xy)).y)",
            "int(pack_half_to_unorm565(half3(v.xyz)))",
        ],
        x,
        torch.int32,
        element="float4",
        count=3,
    )
    levels = np.rint(np.clip(x.numpy(), 0, 1) * np.float32(255)).astype(np.uint8)
    assert packed.tolist() == levels.view(np.int32)[:, 0].tolist()
    assert torch.allclose(back / 1e6, x[:, 1].clamp(-1, 1), atol=1e-4)
    scaled = torch.round(x[:, :3].half().float().clamp(0, 1) * torch.tensor([31.0, 63, 31])).int()
    assert colour.tolist() == (scaled[:, 0] | scaled[:, 1] << 5 | scaled[:, 2] << 11).tolist()
