"""Metal's vector types: layout, construction, components, operators, and their LLVM code."""

from __future__ import annotations

import itertools
import re

import pytest
from stdlib_headers import assembly, body, complaints

# Size and alignment in bytes of T2, T3 and T4.
ELEMENTS = {
    **dict.fromkeys(("bool", "char", "uchar"), 1),
    **dict.fromkeys(("short", "ushort", "half", "bfloat"), 2),
    **dict.fromkeys(("int", "uint", "float"), 4),
    **dict.fromkeys(("long", "ulong"), 8),
}
SPACES = {"device": 1, "constant": 2, "threadgroup": 3}

# Only what lives in the thread's own memory may be reached through a generic pointer.
FROM_MEMORY = re.compile(r"addrspacecast ptr addrspace\([123]\)")


def holds(*facts: str) -> None:
    """Assert constant expressions in the compiler."""
    assembly("\n".join(f'static_assert({fact}, "");' for fact in facts))


def test_vectors_have_metals_sizes_and_alignments():
    facts = []
    for element, size in ELEMENTS.items():
        for count, bytes_ in ((2, 2 * size), (3, 4 * size), (4, 4 * size)):
            facts.append(f"sizeof({element}{count}) == {bytes_}")
            facts.append(f"alignof({element}{count}) == {bytes_}")
            facts.append(f"sizeof(packed_{element}{count}) == {count * size}")
            facts.append(f"alignof(packed_{element}{count}) == {size}")
            facts.append(f"is_same_v<{element}{count}, metal::vec<{element}, {count}>>")
    holds(*facts)


def test_vectors_are_built_from_every_mix_of_scalars_and_vectors():
    facts = [
        *(f"float4({mix}).{c} == {i + 1}" for mix in FOURS for i, c in enumerate("xyzw")),
        *(f"int3({mix}).{c} == {i + 1}" for mix in THREES for i, c in enumerate("xyz")),
        *(f"half4(7).{c} == 7.0h" for c in "xyzw"),
        "short2(1, 2)[1] == 2",
        "float4(int4(1, -2, 3, 4)).y == -2.0f",
        "int4(float4(1.9f, -1.9f, 0, 4)).y == -1",
        "float2(bool2(true, false)).x == 1.0f",
        "bool2(float2(0.5f, 0)).x && !bool2(float2(0.5f, 0)).y",
        "uchar2(ushort2(257, 3)).x == 1",
    ]
    holds(*facts)


FOURS = (
    "1, 2, 3, 4",
    "float2(1, 2), 3, 4",
    "1, float2(2, 3), 4",
    "1, 2, float2(3, 4)",
    "float2(1, 2), float2(3, 4)",
    "float3(1, 2, 3), 4",
    "1, float3(2, 3, 4)",
    "float4(1, 2, 3, 4)",
    "half4(1, 2, 3, 4)",
)
THREES = ("1, 2, 3", "int2(1, 2), 3", "1, int2(2, 3)", "uint3(1, 2, 3)")


WRONG = (
    "float4(1, 2, 3)",
    "float4(1, 2)",
    "float3(1, 2)",
    "float2(1, 2, 3)",
    "float4(float2(1), 1)",
    "float3(float2(1), float2(1))",
    "float4(float3(1), half(1), 2)",
    "float4(half3(1), 1)",
    "float3(float2(1))",
    "float2(float4(1))",
)


def test_every_swizzle_reads_the_components_it_names():
    functions, expected = [], []
    for count, length in itertools.product((2, 3, 4), (2, 3, 4)):
        vector = f"int{count}({', '.join('1234'[:count])})"
        digits = " + ".join(f"s[{i}] * {10 ** (length - 1 - i)}" for i in range(length))
        for picks in itertools.product(range(count), repeat=length):
            for letters in ("xyzw", "rgba"):
                name = "".join(letters[i] for i in picks)
                number = len(functions)
                signature = f'extern "C" int s{number}()'
                functions.append(
                    f"{signature} {{ int{length} s = {vector}.{name}; return {digits}; }}"
                )
                expected.append("".join(str(i + 1) for i in picks))
    code = assembly("\n".join(functions))
    assert re.findall(r"ret i32 (\d+)", code) == expected


@pytest.mark.parametrize("space", ["device", "threadgroup"])
def test_components_are_assigned_in_place(space):
    code = body(
        f'extern "C" void f({space} float4* v, float4 w) {{'
        " v->x = w.y; v->wz = w.xy; v->bg += 1.0f; v->y++; }"
    )
    number = SPACES[space]
    stores = re.findall(r"store (\S+ x \S+|\S+) [^,]*, ptr addrspace\((\d)\)", code)
    assert {at for _, at in stores} == {str(number)}
    assert "addrspacecast" not in code


def test_vectors_move_between_address_spaces_as_whole_vectors():
    code = body(
        'extern "C" void f(device float4* d, constant float4& c, threadgroup float4* t) {'
        " d[0] = c; t[0] = d[1]; d[2] = t[1]; float4 x = c; x += d[3]; d[4] = x; d[5] = 2.0f;"
        " t[2] = t[3]; }"
    )
    for number in SPACES.values():
        assert f"load <4 x float>, ptr addrspace({number})" in code
    assert "addrspacecast" not in code
    assert "memcpy" not in code
    assert "fadd <4 x float>" in code


def test_every_kind_of_operand_is_assigned_without_a_detour():
    code = body(
        'extern "C" void f(device float4* d, device float3x3* m, device packed_int2* p, float s) {'
        " d[0] = float4(s); d[1] = float4(s, 1, 2, 3); d[2] = d[1].wzyx; d[3] = s; d[4] = d[0] + s;"
        " const float4 c = d[5]; d[6] = c; float4 v = c; d[7] = v; d[8] = d[9] = v; d[10] = {};"
        " m[0] = float3x3(s); m[1] = float3x3(d[0].xyz, d[1].xyz, d[2].xyz); m[2] = m[3];"
        " p[0] = packed_int2(1); p[1] = packed_int2(1, 2); p[2] = int2(3); p[3] = 4; }"
    )
    assert not FROM_MEMORY.search(code)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("a[0] = a[1] * 2;", "fmul <4 x float> %{0}, splat (float 2.000000e+00)"),
        ("h[0] = h[1] * 1.25f;", "fmul <4 x half> %{0}, splat (half 0xH3D00)"),
        ("h[0] = 1.5h - h[1];", "fsub <4 x half> splat (half 0xH3E00)"),
        ("b[0] = b[1] + b[2];", "fadd <4 x bfloat>"),
        ("i[0] = i[1] % 3;", "srem <4 x i32>"),
        ("u[0] = u[1] % 3;", "urem <4 x i32>"),
        ("u[0] = u[1] >> 3;", "lshr <4 x i32>"),
        ("i[0] = i[1] >> 3;", "ashr <4 x i32>"),
        ("i[0] = -i[1];", "sub <4 x i32> zeroinitializer"),
        ("i[0] = ~i[1];", "xor <4 x i32>"),
        ("m[0] = a[0] < a[1];", "fcmp olt <4 x float>"),
        ("m[0] = u[0] >= 7u;", "icmp ugt <4 x i32>"),
        ("a[0] = float4(h[0]);", "fpext <4 x half>"),
        ("a[0] = float4(u[0]);", "uitofp <4 x i32>"),
        ("i[0] = int4(a[0]);", "fptosi <4 x float>"),
        ("h[0] = half4(b[0]);", "fptrunc <4 x float>"),
        ("u[0] = as_type<uint4>(a[1] + 1.0f);", "bitcast <4 x float>|store <4 x float>"),
    ],
)
def test_vector_arithmetic_is_vector_code(statement, expected):
    code = body(
        'extern "C" void f(device float4* a, device half4* h, device bfloat4* b, device int4* i,'
        f" device uint4* u, device bool4* m) {{ {statement} }}"
    )
    alternatives = expected.split("|")
    found = [re.escape(each).replace(r"%\{0\}", r"%\d+") for each in alternatives]
    assert any(re.search(each, code) for each in found), code


def test_comparisons_give_vectors_of_bool():
    holds(
        "is_same_v<decltype(float4(1) < float4(2)), bool4>",
        "is_same_v<decltype(half3(1) == half3(2)), bool3>",
        "is_same_v<decltype(!int2(1)), bool2>",
        "(int2(1, 2) == int2(1, 3)).x && !(int2(1, 2) == int2(1, 3)).y",
        "(bool2(true, false) || bool2(false, false)).x",
        "!(bool2(true, false) && bool2(false, true)).x",
    )


def test_swizzles_have_plain_vector_types_for_templates_and_auto():
    assembly(
        "template <typename T, int N> T first(vec<T, N> v) { return v[0]; }\n"
        "template <typename T> T twice(T v) { return v + v; }\n"
        "float f(float4 v) { auto w = v.zyx; static_assert(is_same_v<decltype(w), float3>);\n"
        "  return first(v.yz) + twice(v.xy).y + twice(v.x) + dot(v.xyz, w); }"
    )


def test_operators_between_swizzles_work_inside_templates():
    assembly(
        "template <typename T> vec<T, 4> g(vec<T, 4> v, vec<T, 4> w) {\n"
        "  v.xy = v.zw * w.xy - w.yx; v.zw += w.xy * v.yx; v.x *= w.y; v.xyz = -w.zyx;\n"
        "  return v * (v.x < w.x ? v.wzyx : w.xyzw); }\n"
        "float4 f(float4 v) { return g(v, v); } half4 h(half4 v) { return g(v, v); }"
    )


def test_structs_of_vectors_stay_trivial_and_assignable_everywhere():
    code = assembly(
        "struct Params { float4 a; packed_float3 b; half2 c[2]; float3x3 m; bool3 k; uint n; };\n"
        "static_assert(__is_trivially_copyable(Params) && __is_trivial(Params));\n"
        "void f(device Params* d, threadgroup Params* t, thread Params& p) {\n"
        "  Params q = d[0]; p = q; d[1] = p; t[0] = d[2]; d[3] = t[1]; Params r{}; d[4] = r; }"
    )
    assert "define" in code


def test_member_functions_may_touch_vector_members():
    assembly(
        "struct Ray { float4 o; packed_float3 d; float2x2 m; array<half4, 2> a;\n"
        "  void step(float t) { o.xyz += d * t; o.w++; o[0] = t; d.x = t; d[1] -= t;\n"
        "    m[1].y = t; }\n"
        "  float at() const { return o.x + o.yz.x + o[3] + d.z + d[0] + m[0][1] + a[1].w; } };\n"
        "float f(device Ray& r) { r.step(2); Ray s = r; s.step(3); return r.at() + s.at(); }"
    )


def test_program_scope_constants_hold_vectors():
    code = assembly(
        "constant float4 a = float4(1, 2, 3, 4); constant int3 b(1, 2, 3);\n"
        "constant float2 c[] = {{1, 2}, float2(3)}; constant half4 d = 2.0h;\n"
        "struct S { static constexpr constant uint2 e = uint2(5, 6); };\n"
        'extern "C" float f(uint i) { return a[i] + b[i] + c[i].x + d[i] + S::e.y; }'
    )
    assert "@_ZL1a" in code or "@a = " in code
    assert "call void @__cxx_global" not in code


def test_packed_vectors_behave_like_vectors():
    code = body(
        'extern "C" void f(device packed_float3* p, constant packed_half4& c, float3 v) {'
        " p[0] = p[1] * 2.0f + v; p[2].xz = v.yx; p[3] += p[4]; p[5] = v;"
        " p[6] = packed_float3(v.x, v.yz);"
        " p[7] = float3(half4(c).xyz) * p[8].y; p[9][1] = dot(p[10], v); p[11] = -p[12]; }"
    )
    assert not FROM_MEMORY.search(code)
    assert "@air.dot.v3f32" in code
    holds("packed_int3(1, 2, 3).z == 3", "(packed_int2(1, 2) + packed_int2(3, 4)).y == 6")


def test_elements_are_indexed_in_every_address_space():
    code = body(
        'extern "C" float f(device float4* d, constant float4& c, threadgroup float4* t, uint i) {'
        " float4 v = c; v[i] = t[0][i]; d[1][i] = v[3 - i]; return c[i] + (v * 2)[i]; }"
    )
    assert not FROM_MEMORY.search(code)


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("float4 v = half4(1);", "no viable conversion from .*half"),
        ("float4 v = float3(1);", "no viable conversion from .*float, 3"),
        ("float4 v = float4(1) + half4(1);", "invalid operands"),
        *(
            (f"auto v = {wrong};", "no matching conversion|no matching constructor")
            for wrong in WRONG
        ),
        ("float4 v; v.xx = float2(1);", "no setter defined|cannot find suitable setter"),
        ("float3 v; v.w = 1;", "no member named 'w'"),
        ("float4 v; (v + v).x = 1;", "__put_x|no matching member function"),
        ("if (float4(1) == float4(1)) {}", "is not contextually convertible to 'bool'"),
        ("float4 v = float4(1) % float4(1);", "invalid operands"),
        ("constant float4* p; p->x = 1;", "__put_x|no matching member function"),
    ],
)
def test_wrong_vector_code_is_refused(statement, complaint):
    errors = complaints(f"void f() {{ {statement} }}")
    assert re.search(complaint, errors), errors
