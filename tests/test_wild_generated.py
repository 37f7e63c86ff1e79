"""Constructs that code generators write, and what their kernels count on."""

from __future__ import annotations

import pytest
import torch

import metalgen
from metalgen.compiler import compile_source
from metalgen.library import load_metallib

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
LANES_OF_FEW = (
    PREAMBLE
    + """
kernel void sums(device long* out, constant long* x, uint i [[thread_position_in_grid]]) {
  long one = x[0], own = x[i];
  for (ushort d = 16; d > 0; d /= 2) {
    one += as_type<long>(simd_shuffle_and_fill_down(as_type<int2>(one), int2(0), d));
    own += as_type<long>(simd_shuffle_down(as_type<int2>(own), d));
  }
  if (i == 0) { out[0] = one; out[1] = own; }
  out[2] = as_type<long>(simd_shuffle(as_type<int2>(x[0]), ushort(x[0])));
}"""
)


BODIES = {
    "lengths of vectors are deduced whatever their type": (
        """
template <typename T> T invert(T x) { return T(9); }
template <uint N> vec<bool, N> invert(vec<bool, N> x) { return !x; }
template <typename T, size_t N> T last(vec<T, N> v) { return v[N - 1]; }
template <typename T, ushort C, uint R> T corner(matrix<T, C, R> m) { return m[C - 1][R - 1]; }""",
        "x[0] = last(float3(1, 2, 3)); x[1] = corner(float2x3(1, 2, 3, 4, 5, 6));"
        "bool4 b = invert(bool4(true, false, true, false)); x[2] = b.x; x[3] = b.y;",
        [3, 6, 0, 1],
    ),
    "traits hold for vectors as for what they are made of": (
        "template <typename T, typename = enable_if_t<is_integral<T>::value>>\n"
        "T sign(T v) { return select(T(1), T(-1), v < T(0)); }",
        "int2 s = sign(int2(-7, 4)); x[0] = s.x; x[1] = s.y;"
        "x[2] = is_floating_point_v<half3> && !is_integral_v<half3> && !is_scalar_v<half3>;",
        [-1, 1, 1],
    ),
    "shifts take distances of another type": (
        "",
        "char2 c = char2(1, 2) << uchar2(3, 4); c >>= uchar2(1); x[0] = c.x; x[1] = c.y;"
        "x[2] = (uint2(8) >> int2(1)).x;",
        [4, 16, 4],
    ),
    "a list in braces makes a constant of a class": (
        "template <typename T, size_t N> struct Row { T at[N]; };\n"
        "constant Row<float, 2> row = Row<float, 2>({1.0, 2.0});\n"
        "constant Row<Row<float, 2>, 2> rows = Row<Row<float, 2>, 2>({\n"
        "    Row<float, 2>({3.0, 4.0}), Row<float, 2>({5.0, 6.0})});",
        "Row<float, 2> own = Row<float, 2>({x[0], 7});"
        "x[0] = row.at[1]; x[1] = rows.at[1].at[0]; x[2] = own.at[1];",
        [2, 5, 7],
    ),
    "initializer lists": (
        "struct Sum {\n  float total;\n"
        "  thread Sum& operator=(initializer_list<float> terms) thread {\n"
        "    total = terms.size();\n"
        "    for (thread float* t = terms.begin(); t != terms.end(); ++t) total += *t;\n"
        "    return *this;\n  }\n};",
        "Sum sum; sum = {1.0f, 2.0f, x[0] + 4}; x[0] = sum.total;",
        [10],
    ),
    "empty braces make constants of zeros": (
        "struct Pair { int3 a; float2x2 b[2]; };\n"
        "constant int3 zero = {};\nconstant packed_float3 packed = {};\nconstant Pair pair = {};",
        "x[0] = zero.y + 1; x[1] = packed[2] + 2; x[2] = pair.a.x + pair.b[1][0].y + 3;",
        [1, 2, 3],
    ),
    "vectors may be volatile": (
        "struct Cell { float4 v; int n; };",
        "volatile thread Cell cell; cell.v = float4(1, 2, 3, 4); cell.v += float4(1); cell.n = 2;"
        "volatile device float* p = x; p[0] = cell.v.w * cell.n; threadgroup float2 volatile t[1];"
        "t[0] = float2(5, 6); x[1] = t[0].yx.x;",
        [10, 6],
    ),
}


@pytest.mark.parametrize("construct", BODIES)
def test_generated_constructs_compute_what_they_say(construct):
    declarations, body, expected = BODIES[construct]
    kernel = f"kernel void f(device float* x [[buffer(0)]]) {{ {body} }}"
    library = metalgen.compile_shader(f"{PREAMBLE}{declarations}\n{kernel}")
    x = torch.zeros(len(expected))
    library.f(x, threads=1)
    assert x.tolist() == expected


def test_tessellation_factors_are_structs():
    source = """kernel void f(device MTLQuadTessellationFactorsHalf* quads,
                              device MTLTriangleTessellationFactorsHalf* triangles) {
      quads[1].edgeTessellationFactor[3] = 4;
      triangles[1].insideTessellationFactor = 5;
    }"""
    quads, triangles = torch.zeros(12).half(), torch.zeros(8).half()
    library = metalgen.compile_shader(PREAMBLE + source)
    library.f(quads, triangles, threads=1)
    assert quads.nonzero().item() == 9
    assert triangles.nonzero().item() == 7


@pytest.mark.parametrize("strands", ["simdgroup", "thread"])
def test_lanes_beyond_a_small_threadgroup_are_read_as_zero(strands):
    library = load_metallib(compile_source(LANES_OF_FEW), strands=strands)
    out = torch.full((3,), -1, dtype=torch.int64)
    library.sums(out, torch.full((8,), 5, dtype=torch.int64), threads=5, group_size=5)
    # The shuffle down gives lanes past the 31st their own value; none of them exists here.
    assert out.tolist() == [25, 25, 0]


def test_a_source_may_begin_with_pragmas():
    source = """#pragma clang diagnostic ignored "-Wunused-function"
#pragma METAL fp math_mode(safe)
#include <metal_stdlib>
kernel void f(device float* x) { x[0] = 1; }
#pragma METAL fp math_mode(fast)"""
    x = torch.zeros(1)
    metalgen.compile_shader(source).f(x, threads=1)
    assert x.item() == 1


SPECIALISED = (
    PREAMBLE
    + """
constant int a_given [[function_constant(1)]];
constant int a = is_function_constant_defined(a_given) ? a_given : 11;
constant uint b = (uint(a) + 3u);
constant uint3 sizes = uint3(b, a, 2u);
constant float2 scales = float2(a, b) * 0.5f;
kernel void f(device float* x) {
  x[0] = sizes.x; x[1] = sizes.y; x[2] = sizes.z; x[3] = scales.y;
}"""
)


@pytest.mark.parametrize(
    ("constants", "expected"), [({}, [14, 11, 2, 7]), ({1: 2}, [5, 2, 2, 2.5])]
)
def test_vectors_are_computed_from_function_constants(constants, expected):
    x = torch.zeros(4)
    metalgen.compile_shader(SPECIALISED).f(x, threads=1, constants=constants)
    assert x.tolist() == expected
