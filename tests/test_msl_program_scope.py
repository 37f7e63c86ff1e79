"""Built-ins and bindings at program scope (specification, 5.9) become parameters of kernels."""

from __future__ import annotations

import pytest
import torch

import metalgen
from metalgen.air import Metallib
from metalgen.compiler import CompileOptions, compile_source
from metalgen.errors import CompileError

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
BINDINGS = """
struct Scale { int offset; float factor; };
device float* constant input [[buffer(2)]];
device float* constant input_again [[buffer(2)]];
extern constant Scale* constant scale [[buffer(4)]];
constant Scale* constant scale [[buffer(4)]];
threadgroup float* constant scratch [[threadgroup(1)]];
device float* constant never_read [[buffer(9)]];
uint place [[thread_position_in_grid]];

__attribute__((noinline)) float climb(int n) {
  return n == 0 ? input_again[place] : climb(n - 1) + scale->offset;
}

kernel void mirrored(device float* out [[buffer(0)]], uint lane [[thread_index_in_threadgroup]]) {
  scratch[lane] = input[place] * scale->factor;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[place] = scratch[31 - lane] + climb(3);
}

kernel void alone(device float* out [[buffer(0)]]) { out[place] = place; }
"""


def arguments(source, kernel):
    return Metallib(compile_source(HEAD + source)).kernel(kernel).arguments


def test_bindings_are_given_by_index_and_reach_the_functions_that_a_kernel_calls():
    out, given = torch.zeros(32), torch.arange(32.0)
    library = metalgen.compile_shader(HEAD + BINDINGS)
    library.mirrored(
        out, given, [7, 0.5], threads=32, group_size=32, threadgroup_memory={1: 32 * 4}
    )
    torch.testing.assert_close(out, given.flip(0) * 0.5 + given + 3 * 7)


def test_a_kernel_takes_what_it_uses_behind_its_own_arguments_and_nothing_else():
    found = [(a.name, a.kind, a.index, a.type_name) for a in arguments(BINDINGS, "mirrored")]
    assert found == [
        ("out", "buffer", 0, "float"),
        ("lane", "builtin", None, "uint"),
        ("input", "buffer", 2, "float"),
        ("scale", "buffer", 4, "Scale"),
        ("scratch", "threadgroup", 1, "float"),
        ("place", "builtin", None, "uint"),
    ]
    assert [a.name for a in arguments(BINDINGS, "alone")] == ["out", "place"]


def test_a_binding_is_described_as_an_argument_is():
    source = "struct S {{ float4 a; int b[3]; }}; {} kernel void k({}) {{ o[0] = s->b[1]; }}"
    at_scope = source.format("constant S* constant s [[buffer(3)]];", "device int* o [[buffer(0)]]")
    as_argument = source.format("", "device int* o [[buffer(0)]], constant S* s [[buffer(3)]]")
    assert arguments(at_scope, "k") == arguments(as_argument, "k")


def test_a_function_constant_decides_whether_a_binding_exists():
    source = """
    constant bool has_bias [[function_constant(0)]];
    device float* constant bias [[buffer(1), function_constant(has_bias)]];
    uint place [[thread_position_in_grid]];
    kernel void k(device float* out [[buffer(0)]]) { out[place] = has_bias ? bias[place] : -1; }
    """
    library, out = metalgen.compile_shader(HEAD + source), torch.zeros(4)
    library.k(out, torch.arange(4.0), threads=4, constants={0: True})
    assert out.tolist() == [0, 1, 2, 3]
    library.k(out, None, threads=4, constants={0: False})
    assert out.tolist() == [-1] * 4


def test_names_nearer_by_hide_those_at_program_scope():
    source = """
    uint place [[thread_position_in_grid]];
    struct Other { uint place; };
    float plus(float place) { return place + 1; }
    kernel void k(device float* out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
      Other other = {5};
      { uint place = 7; out[lane] = plus(place) + other.place + ::place; }
    }
    """
    out = torch.zeros(3)
    metalgen.compile_shader(HEAD + source).k(out, threads=3)
    assert out.tolist() == [13, 14, 15]


@pytest.mark.parametrize(
    ("declaration", "what", "since"),
    [
        ("uint place [[thread_position_in_grid]];", "built-ins", "3.1"),
        ("device float* constant data [[buffer(1)]];", "bindings", "3.2"),
    ],
)
def test_older_standards_have_none(declaration, what, since):
    source = HEAD + declaration + "kernel void k(device float* out [[buffer(0)]]) { out[0] = 1; }"
    message = f"{what} at program scope need Metal {since}: compile with -std=metal{since}"
    with pytest.raises(CompileError, match=message):
        compile_source(source, options=CompileOptions(standard="metal3.0"))
    compile_source(source, options=CompileOptions(standard=f"metal{since}"))
