"""Functions of SIMD-groups, quad-groups and memory: AIR's names, types and attributes."""

from __future__ import annotations

import itertools
import re

import pytest
from stdlib_headers import assembly, body, complaints

# Metal type, LLVM type, what stands in AIR names behind the function.
LANES = (
    ("float", "float", "f32"),
    ("half", "half", "f16"),
    ("int", "i32", "s.i32"),
    ("uint", "i32", "u.i32"),
    ("short", "i16", "s.i16"),
    ("ushort", "i16", "u.i16"),
    ("char", "i8", "s.i8"),
    ("uchar", "i8", "u.i8"),
    ("float4", "<4 x float>", "v4f32"),
    ("half2", "<2 x half>", "v2f16"),
    ("uint2", "<2 x i32>", "u.v2i32"),
    ("short3", "<3 x i16>", "s.v3i16"),
)
REDUCTIONS = (
    *("sum", "product", "min", "max", "broadcast_first"),
    *("prefix_inclusive_sum", "prefix_inclusive_product"),
    *("prefix_exclusive_sum", "prefix_exclusive_product"),
)
SHUFFLES = (
    "broadcast",
    *(f"shuffle{kind}" for kind in ("", "_up", "_down", "_xor", "_rotate_up", "_rotate_down")),
)


_VALUE = re.compile(
    r"(?<=[\w>)]) (%[\w.]+|0x\w+|-?\d[\w.+]*|zeroinitializer|true|false|<i64 1, .*?>)"
)


def calls(text: str) -> set[str]:
    """AIR calls as `result name(parameter types)`, without what clang adds to them."""
    added = re.compile(r" (noundef|nonnull|zeroext|signext)(?= )")
    found = re.findall(
        r"call spir_func (.*? @air\.[\w.]+\([^\n]*?\))(?: #|,|$)", text, re.MULTILINE
    )
    plain = (added.sub("", f" {call}").strip() for call in found)
    return {_VALUE.sub("", call) for call in plain}


@pytest.mark.parametrize("group", ["simd", "quad"])
def test_lane_functions_exist_for_every_type_under_airs_names(group):
    statements, expected = [], set()
    for number, (_, llvm, suffix) in enumerate(LANES):
        p = f"p{number}"
        for name in REDUCTIONS:
            statements.append(f"{p}[0] = {group}_{name}({p}[1]);")
            expected.add(f"{llvm} @air.{group}_{name}.{suffix}({llvm})")
        for name in SHUFFLES:
            statements.append(f"{p}[0] = {group}_{name}({p}[1], 1);")
            expected.add(f"{llvm} @air.{group}_{name}.{suffix}({llvm}, i16)")
        for name in ("up", "down"):
            full = f"{group}_shuffle_and_fill_{name}"
            statements.append(f"{p}[0] = {full}({p}[1], {p}[2], 1, 8);")
            expected.add(f"{llvm} @air.{full}.{suffix}({llvm}, {llvm}, i16, i16)")
        for name in ("and", "or", "xor") if suffix[1] == "." else ():
            statements.append(f"{p}[0] = {group}_{name}({p}[1]);")
            expected.add(f"{llvm} @air.{group}_{name}.{suffix}({llvm})")
    parameters = ", ".join(f"device {metal}* p{i}" for i, (metal, _, _) in enumerate(LANES))
    code = body(f'extern "C" void f({parameters}) {{ {" ".join(statements)} }}')
    assert calls(code) == expected


def test_votes_and_sizes():
    code = body(
        'extern "C" void f(device int* i, device ulong* u) {'
        " i[0] = simd_all(i[1] > 0); i[1] = simd_any(i[2] > 0); i[2] = simd_is_first();"
        " u[0] = ulong(simd_ballot(i[3] > 0)); "
        " u[1] = (simd_vote::vote_t)simd_active_threads_mask();"
        " i[4] = quad_all(i[5] > 0); i[6] = simd_ballot(i[6] > 0).all(); }"
    )
    assert calls(code) == {
        "i1 @air.simd_all(i1)",
        "i1 @air.simd_any(i1)",
        "i1 @air.simd_is_first()",
        "i64 @air.simd_ballot.i64(i1)",
        "i64 @air.simd_active_threads_mask.i64()",
        "i1 @air.quad_all(i1)",
        "i16 @air.get_simdgroup_size.i16()",
    }


def test_filling_shuffles_default_to_the_whole_group():
    code = body(
        'extern "C" void f(device float* x) {'
        " x[0] = simd_shuffle_and_fill_up(x[1], 0.0f, 1);"
        " x[1] = quad_shuffle_and_fill_down(x[2], 0.0f, 1); }"
    )
    assert re.search(r"@air\.simd_shuffle_and_fill_up\.f32\([^)]*i16 noundef zeroext %\d+\)", code)
    assert re.search(r"@air\.quad_shuffle_and_fill_down\.f32\([^)]*i16 noundef zeroext 4\)", code)


def test_bfloat_sums_as_float_and_travels_as_bits():
    code = body(
        'extern "C" void f(device bfloat* b, device bfloat4* v) {'
        " b[0] = bfloat(simd_sum(b[1])); b[1] = simd_shuffle_xor(b[2], 1);"
        " v[0] = simd_broadcast(v[1], 0); }"
    )
    assert calls(code) == {
        "float @air.simd_sum.f32(float)",
        "i16 @air.simd_shuffle_xor.u.i16(i16, i16)",
        "<4 x i16> @air.simd_broadcast.u.v4i16(<4 x i16>, i16)",
    }


@pytest.mark.parametrize(
    ("flags", "number"),
    [
        ("mem_flags::mem_none", 0),
        ("mem_flags::mem_device", 1),
        ("mem_flags::mem_threadgroup", 2),
        ("mem_flags::mem_device | mem_flags::mem_threadgroup", 3),
        ("mem_flags::mem_texture", 4),
    ],
)
def test_barriers_carry_airs_flags_and_scopes(flags, number):
    code = body(
        f'extern "C" void f() {{ threadgroup_barrier({flags}); simdgroup_barrier({flags}); }}'
    )
    assert f"@air.wg.barrier(i32 noundef {number}, i32 noundef 1)" in code
    assert f"@air.simdgroup.barrier(i32 noundef {number}, i32 noundef 4)" in code


def test_what_lanes_do_together_is_convergent_and_stays_where_it_is():
    code = assembly(
        'extern "C" float f(device float* x, bool c) {'
        " float y = simd_sum(x[0]); if (c) y += simd_sum(x[0]);"
        " threadgroup_barrier(mem_flags::mem_device);"
        " return y; }"
    )
    assert code.count("call spir_func noundef float @air.simd_sum.f32") == 2
    for name in ("air.simd_sum.f32", "air.wg.barrier"):
        group = re.search(rf"declare [^\n]*@{re.escape(name)}\([^\n]*#(\d+)", code)[1]
        assert "convergent" in re.search(rf"^attributes #{group} = .*$", code, re.MULTILINE)[0]


@pytest.mark.parametrize(("space", "air"), [("device", "global"), ("threadgroup", "local")])
def test_atomics_have_airs_names_and_arguments(space, air):
    pointer = "ptr addrspace(1)" if space == "device" else "ptr addrspace(3)"
    tail = "i32, i32, i1"
    statements, expected = [], set()
    for metal, sign in (("int", "s"), ("uint", "u")):
        p = f"{metal[0]}"
        for name in ("add", "sub", "and", "or", "xor", "min", "max"):
            statements.append(f"atomic_fetch_{name}_explicit({p}, 1, memory_order_relaxed);")
            expected.add(f"i32 @air.atomic.{air}.{name}.{sign}.i32({pointer}, i32, {tail})")
    for p, llvm, suffix in (("u", "i32", "i32"), ("x", "float", "f32")):
        statements += [
            f"atomic_store_explicit({p}, 1, memory_order_relaxed);",
            f"r[0] = atomic_load_explicit({p}, memory_order_relaxed);",
            f"r[1] = atomic_exchange_explicit({p}, 2, memory_order_relaxed);",
        ]
        expected |= {
            f"void @air.atomic.{air}.store.{suffix}({pointer}, {llvm}, {tail})",
            f"{llvm} @air.atomic.{air}.load.{suffix}({pointer}, {tail})",
            f"{llvm} @air.atomic.{air}.xchg.{suffix}({pointer}, {llvm}, {tail})",
        }
    if space == "device":
        statements.append("atomic_fetch_add_explicit(x, 1.0f, memory_order_relaxed);")
        expected.add(f"float @air.atomic.{air}.add.f32({pointer}, float, {tail})")
    statements += [
        "uint e = 5; r[2] = atomic_compare_exchange_weak_explicit(u, &e, 6, memory_order_relaxed,"
        " memory_order_relaxed); r[3] = e;",
    ]
    expected |= {
        f"i32 @air.atomic.{air}.cmpxchg.weak.i32({pointer}, ptr, i32, i32, {tail})",
    }
    code = body(
        f'extern "C" void f({space} atomic_int* i, {space} atomic_uint* u, volatile {space}'
        f" atomic_float* x, device float* r) {{ {' '.join(statements)} }}"
    )
    assert calls(code) == expected
    relaxed = r"i32 noundef 0, i32 noundef 2, i1 noundef zeroext true\)"
    assert len(re.findall(relaxed, code)) == len(statements)


def test_a_compare_exchange_reports_what_it_saw():
    code = body(
        'extern "C" bool f(device atomic<uint>* a, thread uint& seen) {'
        " return atomic_compare_exchange_weak_explicit(a, &seen, 1, memory_order_relaxed,"
        " memory_order_relaxed); }"
    )
    assert re.search(r"icmp eq i32 %\d+, %\d+", code)


def test_fences_carry_flags_order_and_scope():
    code = body(
        'extern "C" void f() { atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst,'
        " thread_scope_system); }"
    )
    assert "@air.atomic.fence(i32 noundef 1, i32 noundef 5, i32 noundef 3)" in code


def test_matrices_load_store_and_fill_under_airs_names():
    code = body(
        'extern "C" void f(device float* d, threadgroup half* t, device bfloat* b) {'
        " simdgroup_float8x8 x = make_filled_simdgroup_matrix<float, 8>(2.0f);"
        " simdgroup_matrix<half, 8, 8> y; simdgroup_bfloat8x8 z(1.0f);"
        " simdgroup_store(x, d); simdgroup_load(x, d + 64, 128, ulong2(1, 2), true);"
        " simdgroup_load(y, t, 16); simdgroup_store(y, t, 16, 0, false); simdgroup_store(z, b);"
        " simdgroup_store(x, d); }"
    )
    vector = "<2 x i64>"
    assert calls(code) == {
        "<64 x float> @air.simdgroup_matrix_8x8_init_filled.v64f32.f32(float)",
        "<64 x bfloat> @air.simdgroup_matrix_8x8_init_diag.v64bf16.bf16(bfloat)",
        "<64 x float> @air.simdgroup_matrix_8x8_load.v64f32.p1f32("
        f"ptr addrspace(1), i64, {vector}, i1)",
        "<64 x half> @air.simdgroup_matrix_8x8_load.v64f16.p3f16("
        f"ptr addrspace(3), i64, {vector}, i1)",
        "void @air.simdgroup_matrix_8x8_store.v64f32.p1f32("
        f"<64 x float>, ptr addrspace(1), i64, {vector}, i1)",
        "void @air.simdgroup_matrix_8x8_store.v64f16.p3f16("
        f"<64 x half>, ptr addrspace(3), i64, {vector}, i1)",
        "void @air.simdgroup_matrix_8x8_store.v64bf16.p1bf16("
        f"<64 x bfloat>, ptr addrspace(1), i64, {vector}, i1)",
    }


def test_matrices_multiply_in_every_mix_of_types():
    kinds = {"float": ("float", "f32"), "half": ("half", "f16"), "bfloat": ("bfloat", "bf16")}
    statements, expected = [], set()
    for number, (a, b, c) in enumerate(itertools.product(kinds, repeat=3)):
        statements.append(
            f"simdgroup_{c}8x8 r{number};"
            f" simdgroup_multiply_accumulate(r{number}, {a[0]}, {b[0]}, {c[0]});"
            f" simdgroup_store(r{number}, p{c[0]} + {64 * number});"
        )
        suffix = ".".join(f"v64{kinds[kind][1]}" for kind in (c, a, b, c))
        expected.add(f"air.simdgroup_matrix_8x8_multiply_accumulate.{suffix}")
    code = body(
        'extern "C" void f(device float* pf, device half* ph, device bfloat* pb) {'
        " simdgroup_float8x8 f; simdgroup_half8x8 h; simdgroup_bfloat8x8 b;"
        " simdgroup_load(f, pf); simdgroup_load(h, ph); simdgroup_load(b, pb);"
        f" {' '.join(statements)} }}"
    )
    assert (
        set(re.findall(r"@(air\.simdgroup_matrix_8x8_multiply_accumulate[\w.]+)\(", code))
        == expected
    )


def test_a_lanes_own_elements_are_the_first_two():
    code = body(
        'extern "C" void f(device float* d) {'
        " simdgroup_float8x8 m; simdgroup_load(m, d); m.thread_elements()[1] *= 2;"
        " reinterpret_cast<thread float2&>(m.thread_elements()) += float2(1, 1);"
        " simdgroup_store(m, d); }"
    )
    assert "alloca" not in code
    assert re.search(r"extractelement <64 x float> %\d+, i64 1", code)


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("simd_sum(1L);", "ambiguous"),
        ("simd_and(1.0f);", "ambiguous|no matching"),
        ("simd_sum(bool4(true));", "no matching"),
        ("simdgroup_matrix<float, 4, 4> m;", "8 by 8"),
        ("simdgroup_matrix<int, 8, 8> m;", "float, half or bfloat"),
        ("threadgroup_barrier(2);", "no matching function"),
        ("atomic<short> a;", "atomic<T> needs"),
        ("constant atomic_int* a; atomic_load_explicit(a, memory_order_relaxed);", "no matching"),
    ],
)
def test_wrong_use_is_refused(statement, complaint):
    errors = complaints(f"void f() {{ {statement} }}")
    assert re.search(complaint, errors), errors
