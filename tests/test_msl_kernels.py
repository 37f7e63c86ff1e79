"""What compiled Metal source says about its kernels."""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm
import pytest

from metalgen.air import Metallib, write_metallib
from metalgen.compiler import CompileOptions
from metalgen.compiler.clang import compile_to_air

SOURCES = Path(__file__).parent / "msl"
HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"


def metallib(source, **options):
    return Metallib(write_metallib(compile_to_air(HEAD + source, **options)))


def arguments(source, kernel="k", **options):
    return metallib(source, **options).kernel(kernel).arguments


def test_arguments_carry_their_type_address_space_and_access():
    found = arguments(
        "struct P { float4 a; int b; };"
        "kernel void k(device const half4* x [[buffer(3)]], device uint* y [[buffer(1)]],"
        " constant P& p [[buffer(0)]], threadgroup float* t [[threadgroup(2)]],"
        " constant bfloat* q [[buffer(5)]], device packed_float3& v [[buffer(6)]],"
        " uint2 i [[thread_position_in_grid]]) { y[0] = i.x; }"
    )
    described = [
        (a.kind, a.index, a.type_name, a.type_size, a.address_space, a.access, a.is_reference)
        for a in found
    ]
    assert described == [
        ("buffer", 3, "half4", 8, "device", "read", False),
        ("buffer", 1, "uint", 4, "device", "read_write", False),
        ("buffer", 0, "P", 32, "constant", "read", True),
        ("threadgroup", 2, "float", 4, "threadgroup", "read_write", False),
        ("buffer", 5, "bfloat", 2, "constant", "read", False),
        ("buffer", 6, "packed_float3", 12, "device", "read_write", True),
        ("builtin", None, "uint2", 0, None, None, False),
    ]
    assert [a.name for a in found] == ["x", "y", "p", "t", "q", "v", "i"]
    assert [a.is_used for a in found] == [False, True, False, False, False, False, True]


def test_buffers_without_an_index_take_the_lowest_free_one():
    found = arguments(
        "kernel void k(device float* a, device float* b [[buffer(1)]], threadgroup float* s,"
        " constant uint& c, device float* d [[buffer(0)]], threadgroup float* t) {}"
    )
    assert [(a.name, a.kind, a.index) for a in found] == [
        ("a", "buffer", 2),
        ("b", "buffer", 1),
        ("s", "threadgroup", 0),
        ("c", "buffer", 3),
        ("d", "buffer", 0),
        ("t", "threadgroup", 1),
    ]


@pytest.mark.parametrize(
    ("attribute", "type_name"),
    [
        ("thread_position_in_grid", "ushort3"),
        ("threads_per_grid", "uint"),
        ("threadgroup_position_in_grid", "uint3"),
        ("threadgroups_per_grid", "uint2"),
        ("thread_position_in_threadgroup", "ushort2"),
        ("threads_per_threadgroup", "uint3"),
        ("dispatch_threads_per_threadgroup", "uint3"),
        ("thread_index_in_threadgroup", "ushort"),
        ("thread_index_in_simdgroup", "uint"),
        ("simdgroup_index_in_threadgroup", "uint"),
        ("simdgroups_per_threadgroup", "ushort"),
        ("threads_per_simdgroup", "uint"),
        ("dispatch_simdgroups_per_threadgroup", "uint"),
        ("thread_index_in_quadgroup", "uint"),
        ("quadgroup_index_in_threadgroup", "uint"),
        ("quadgroups_per_threadgroup", "ushort"),
    ],
)
def test_built_ins_come_in_every_type_that_metal_has_for_them(attribute, type_name):
    (_, found) = arguments(
        f"kernel void k(device uint* y, {type_name} i [[{attribute}]]) {{ y[0] = sizeof(i); }}"
    )
    assert (found.kind, found.builtin, found.type_name) == ("builtin", attribute, type_name)


def test_thread_execution_width_is_the_old_name_of_threads_per_simdgroup():
    (_, found) = arguments("kernel void k(device uint* y, uint w [[thread_execution_width]]) {}")
    assert found.builtin == "threads_per_simdgroup"


def test_attributes_may_stand_in_front_of_a_parameter_and_be_several():
    (found, other) = arguments(
        "constant bool on [[function_constant(2)]];"
        "kernel void k([[buffer(4)]] device float* x, [[maybe_unused]] device float* y"
        " [[buffer(7), function_constant(on)]]) {}"
    )
    assert (found.index, other.index, other.condition) == (4, 7, "on")


def test_host_names_are_those_of_every_form_of_instantiation():
    found = Metallib(write_metallib(compile_to_air((SOURCES / "host_names.metal").read_text())))
    assert sorted(found.names) == sorted(
        "fill_float fill_half_4 fill_int fill_uchar4 renamed one::two::nested three four"
        " declared".split()
    )
    assert found.kernel("fill_half_4").arguments[0].type_name == "half"
    assert found.kernel("fill_uchar4").arguments[1].type_name == "uchar4"
    assert found.kernel("fill_int").max_total_threads == 256
    assert found.kernel("renamed").max_total_threads is None


def test_a_kernel_lists_only_the_function_constants_it_depends_on():
    found = Metallib(
        write_metallib(compile_to_air((SOURCES / "function_constants.metal").read_text()))
    )
    constants = [(c.name, c.index, c.type_name) for c in found.kernel("shifted::affine").constants]
    assert constants == [("has_bias", 0, "bool"), ("scale", 3, "float")]
    assert found.kernel("shifted::affine").arguments[1].condition == "has_bias"
    assert found.kernel("copies").constants == ()


def test_static_threadgroup_memory_is_counted_per_kernel():
    found = metallib(
        "float f(uint i) { threadgroup float t[8]; t[i] = 1; return t[0]; }"
        "kernel void a(device float* y, uint i [[thread_index_in_threadgroup]])"
        " { threadgroup half t[3]; threadgroup float4 u; t[i] = 2; u = 1; y[i] = t[0] + u.x; }"
        "kernel void b(device float* y, uint i [[thread_index_in_threadgroup]])"
        " { y[i] = f(i) + f(i + 1); }"
    )
    assert found.kernel("a").threadgroup_bytes == 32
    assert found.kernel("b").threadgroup_bytes == 32


def test_defines_and_include_directories_reach_the_source(tmp_path):
    (tmp_path / "shapes.h").write_text("#pragma once\ntypedef TYPE element;\n")
    source = '#include "shapes.h"\nkernel void k(device element* x) { x[0] = WIDTH; }'
    (found,) = arguments(source, include_dirs=[tmp_path], defines={"TYPE": "half", "WIDTH": "4"})
    assert found.type_name == "half"


def test_the_language_version_can_be_chosen_and_is_visible_to_the_source():
    source = HEAD + "kernel void k(device int* x) { x[0] = __METAL_VERSION__; }"
    options = CompileOptions(standard="metal3.1")
    (function,) = compile_to_air(source, options=options, defines={"__METAL_VERSION__": "310"})
    assert (function.air_version, function.language_version) == ((2, 6), (3, 1))


def test_structs_list_their_members_with_types_and_offsets():
    (p,) = arguments(
        "struct Inner { half a; float4 v[2]; };"
        "template <typename T> struct P { T x, y[3]; Inner in; uint n = 3; bool flag;"
        " int f() const { return 3; } static constant constexpr int K = 3; };"
        "kernel void k(constant P<bfloat>& p) {}"
    )
    members = [(f.name, f.type_name, f.offset, f.size, f.count) for f in p.fields]
    assert members == [
        ("x", "bfloat", 0, 2, 0),
        ("y", "bfloat", 2, 2, 3),
        ("in", "Inner", 16, 48, 0),
        ("n", "uint", 64, 4, 0),
        ("flag", "bool", 68, 1, 0),
    ]
    inner = [(f.name, f.type_name, f.offset, f.size, f.count) for f in p.fields[2].fields]
    assert inner == [("a", "half", 0, 2, 0), ("v", "float4", 16, 16, 2)]


def test_indices_and_limits_may_be_constant_expressions():
    found = Metallib(write_metallib(compile_to_air((SOURCES / "templates.metal").read_text())))
    assert found.kernel("limited_float_2_4").max_total_threads == 256
    indices = [(a.name, a.index, a.array_length) for a in found.kernel("expressions").arguments]
    assert indices[:5] == [("x", 2, 1), ("y", 1, 1), ("z", 5, 1), ("w", 0, 3), ("free", 3, 1)]


def test_safe_maths_leaves_the_order_of_operations_and_fast_maths_does_not():
    source = HEAD + "kernel void k(device float* x) { x[0] = x[0] * x[1] + exp(x[2]); }"
    fast, safe = (
        str(
            llvm.parse_bitcode(compile_to_air(source, options=CompileOptions(math=math))[0].bitcode)
        )
        for math in ("fast", "safe")
    )
    assert "reassoc" in fast
    assert "air.fast_exp.f32" in fast
    assert "air.compile.fast_math_enable" in fast
    assert "reassoc" not in safe
    assert "air.fast_exp.f32" not in safe
    assert "air.compile.fast_math_disable" in safe


def test_infinities_survive_fast_maths():
    source = HEAD + "kernel void k(device float* x) { x[0] = isinf(x[1]) ? -INFINITY : x[2]; }"
    text = str(llvm.parse_bitcode(compile_to_air(source)[0].bitcode))
    assert "ninf" not in text
    assert "nnan" not in text
    assert "0xFFF0000000000000" in text


def test_no_generic_pointer_is_left_and_threadgroup_memory_is_reached_directly():
    (function,) = compile_to_air(
        (SOURCES / "address_spaces.metal").read_text(), options=CompileOptions(standard="metal4.0")
    )
    text = str(llvm.parse_bitcode(function.bitcode))
    assert "addrspace(4)" not in text
    assert "addrspacecast" not in text
    assert "spir" not in text


@pytest.mark.parametrize("name", ["exp", "max", "memset", "printf", "local", "half4x4_"])
def test_a_kernel_may_be_called_like_a_function_of_metal_or_c(name):
    source = (
        f"kernel void {name}(device float* x, uint i [[thread_position_in_grid]])"
        " { x[i] = max(exp(x[i]), 0.0f); }"
    )
    assert metallib(source).names == (name,)


def test_threadgroup_variables_are_found_however_they_are_declared():
    (function,) = compile_to_air(
        (SOURCES / "threadgroup_declarations.metal").read_text(),
        options=CompileOptions(standard="metal4.0"),
    )
    module = llvm.parse_bitcode(function.bitcode)
    variables = {g.name.split(".")[-1] for g in module.global_variables if "threadgroup" in g.name}
    named = "count arr m p vs raw s1 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 s12 x inner".split()
    assert variables >= set(named)
    assert not variables & {"vp", "cp", "pa", "pb", "tile", "fp", "ref", "q", "dynamic"}
