"""What each function of Metal's library becomes in AIR, and which overload is taken."""

from __future__ import annotations

import itertools
import re

import pytest
from stdlib_headers import assembly, body, complaints

POINTERS = (
    "device float* f, device half* h, device bfloat* b, device int* i, device uint* u,"
    " device long* l, device short* s, device char* c, device uchar* uc, device bool* m,"
    " device float4* f4, device half2* h2, device int3* i3, device ushort4* us4, device bool4* m4,"
    " device packed_float3* p3"
)


def code_of(statement: str, *options: str) -> str:
    """The body of a function that runs `statement` on pointers to every kind of number."""
    return body(f'extern "C" void f({POINTERS}) {{ {statement} }}', *options)


UNARY = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "cospi", "exp"),
    *("exp10", "exp2", "fabs", "floor", "fract", "log", "log10", "log2", "rint", "round", "rsqrt"),
    *("saturate", "sin", "sinh", "sinpi", "sqrt", "tan", "tanh", "tanpi", "trunc"),
)
NAMESPACES = ("", "metal::", "precise::", "fast::")
BINARY = ("atan2", "fmax", "fmin", "fmod", "pow", "powr")


@pytest.mark.parametrize(
    ("functions", "arguments"), [(UNARY, "{0}[1]"), (BINARY, "{0}[1], {0}[2]")]
)
def test_maths_functions_are_airs_own_in_every_form(functions, arguments):
    statements, expected = [], set()
    pointers = (("f", "f32"), ("h", "f16"), ("f4", "v4f32"), ("h2", "v2f16"))
    for name in functions:
        for (pointer, suffix), space in itertools.product(pointers, NAMESPACES):
            call = f"{space}{name}({arguments.format(pointer)})"
            statements.append(f"{pointer}[{len(statements)}] = {call};")
            expected.add(f"air.{name}.{suffix}")
            if "f32" in suffix:
                expected.add(f"air.fast_{name}.{suffix}")
    code = code_of(" ".join(statements))
    assert set(re.findall(r"@(air\.[\w.]+)\(", code)) == expected


def test_fast_maths_is_the_default_only_when_asked_for():
    statement = (
        "f[0] = exp(f[1]); f[1] = precise::exp(f[0]); f4[0] = max(f4[1], 0.0f); h[0] = exp(h[1]);"
    )
    called = re.compile(r"@(air\.[\w.]+)\(")
    assert called.findall(code_of(statement)) == [
        *("air.exp.f32", "air.exp.f32", "air.fmax.v4f32", "air.exp.f16")
    ]
    assert called.findall(code_of(statement, "-D__FAST_MATH__=1")) == [
        *("air.fast_exp.f32", "air.exp.f32", "air.fast_fmax.v4f32", "air.exp.f16")
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("f[0] = max(f[1], 0.0f);", "air.fmax.f32"),
        ("f[0] = abs(f[1]);", "air.fabs.f32"),
        ("f[0] = clamp(f[1], 0.0f, 1.0f);", "air.clamp.f32"),
        ("h[0] = min(h[1], h[2]);", "air.fmin.f16"),
        ("f4[0] = max(f4[1], 0);", "air.fmax.v4f32"),
        ("f4[0] = clamp(f4[1], 0.0f, f4[2]);", "air.clamp.v4f32"),
        ("f4[0].xyz = max(f4[1].xyz, 1.0f);", "air.fmax.v3f32"),
        ("f[0] = dot(p3[0], p3[1]);", "air.dot.v3f32"),
        ("f[0] = pow(f[1], 2);", "air.pow.f32"),
        ("f[0] = fma(f[1], f[2], 1.0f);", "air.fma.f32"),
        ("f4[0] = fma(f4[1], 2.0f, f4[3]);", "air.fma.v4f32"),
        ("f[0] = ldexp(f[1], 3);", "air.ldexp.f32"),
        ("h2[0] = ldexp(h2[1], int2(3));", "air.ldexp.v2f16"),
        ("f[0] = nextafter(f[1], 3.0f);", "air.nextafter.f32"),
        ("f[0] = exp(b[1]);", "air.exp.f32"),
        ("f[0] = max(b[1], b[2]);", "air.fmax.f32"),
        ("i[0] = max(i[1], 3);", "air.max.s.i32"),
        ("u[0] = min(u[1], 3u);", "air.min.u.i32"),
        ("l[0] = max(l[1], l[2]);", "air.max.s.i64"),
        ("s[0] = max(s[1], s[2]);", "air.max.s.i16"),
        ("c[0] = min(c[1], c[2]);", "air.min.s.i8"),
        ("uc[0] = clamp(uc[1], uc[2], uc[3]);", "air.clamp.u.i8"),
        ("i[0] = clamp(i[1], 0, 10);", "air.clamp.s.i32"),
        ("i[0] = abs(i[1]);", "air.abs.s.i32"),
        ("i3[0] = max(i3[1], 0);", "air.max.s.v3i32"),
        ("us4[0] = min(us4[1], us4[2]);", "air.min.u.v4i16"),
        ("i[0] = max(m[1], m[2]);", "air.max.s.i32"),
    ],
)
def test_calls_resolve_to_the_overload_that_metal_takes(statement, expected):
    assert re.findall(r"@(air\.[\w.]+)\(", code_of(statement)) == [expected]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("i[0] = popcount(i[1]);", "llvm.ctpop.i32"),
        ("us4[0] = clz(us4[1]);", "llvm.ctlz"),
        ("u[0] = ctz(u[1]);", "llvm.cttz.i32"),
        ("u[0] = rotate(u[1], u[2]);", "llvm.fshl.i32"),
        ("i3[0] = reverse_bits(i3[1]);", "llvm.bitreverse.v3i32"),
        ("i[0] = addsat(i[1], i[2]);", "llvm.sadd.sat.i32"),
        ("us4[0] = subsat(us4[1], us4[2]);", "llvm.usub.sat.v4i16"),
        ("f4[0] = mix(f4[1], f4[2], 0.5f);", "llvm.fmuladd.v4f32"),
        ("f[0] = copysign(f[1], f[2]);", "llvm.copysign.f32"),
        ("f4[0] = select(f4[1], f4[2], m4[0]);", "select <4 x i1>"),
        ("f4[0] = select(f4[1], f4[2], f4[3] > 0.0f);", "select <4 x i1>"),
        ("m[0] = any(f4[1] < f4[2]);", "icmp ne i4"),
        ("i[0] = mulhi(i[1], i[2]);", "lshr i64"),
    ],
)
def test_functions_that_llvm_knows_are_left_to_it(statement, expected):
    code = code_of(statement)
    assert expected in code
    assert "@air." not in code


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "isnormal", "signbit"])
def test_classification_does_not_trust_fast_maths(name):
    code = code_of(
        f"m[0] = {name}(f[1]); m[1] = {name}(h[1]); m[2] = {name}(b[1]); m4[0] = {name}(f4[1]);",
        *("-D__FAST_MATH__=1", "-ffast-math"),
    )
    assert "@air." not in code
    assert not re.search(r"fcmp (fast|nnan|ninf|reassoc)", code)


def test_integer_functions_fold_in_constant_expressions():
    assembly(
        "constant constexpr int n = max(3, min(7, 5)); static_assert(n == 5);\n"
        "static_assert(clamp(12u, 1u, 9u) == 9u && abs(-4) == 4 && max3(1, 9, 2) == 9);\n"
        "static_assert(median3(5, 1, 3) == 3 && select(1, 2, true) == 2 && all(true));\n"
        "float f(threadgroup float (&t)[metal::max(2, 4)]) { return t[3]; }"
    )


def test_the_private_names_behind_the_functions_exist_for_sources_that_use_them():
    code = code_of(
        "f[0] = __metal_exp(f[1], __METAL_FAST_MATH__) + __metal_fma(f[1], f[2], f[3]);"
        " f[1] = __metal_fmax3(f[1], f[2], f[3], __METAL_PRECISE_MATH__);"
        " f[2] = __metal_simd_sum(f[2]) + __metal_get_simdgroup_size(ushort());"
    )
    for name in ("air.fast_exp.f32", "air.fmax.f32", "air.simd_sum.f32"):
        assert f"@{name}(" in code


def test_pure_functions_are_merged():
    code = assembly('extern "C" void f(device float* x) { x[0] = exp(x[1]) + exp(x[1]); }')
    assert code.count("call spir_func noundef float @air.exp.f32") == 1
    group = re.search(r"declare [^\n]*@air\.exp\.f32\([^\n]*#(\d+)", code)[1]
    assert "memory(none)" in re.search(rf"^attributes #{group} = .*$", code, re.MULTILINE)[0]


def test_traits_and_limits_know_metals_types():
    facts = (
        "is_floating_point_v<half> && is_floating_point_v<bfloat> && !is_floating_point_v<int>",
        "is_integral_v<uint8_t> && is_integral<long>::value && !is_integral_v<float4>",
        "is_signed_v<int8_t> && is_unsigned_v<size_t> && is_arithmetic_v<bfloat>",
        "is_same_v<make_unsigned_t<int>, uint> && is_same_v<make_signed_t<ulong>, long>",
        "is_same_v<remove_addrspace_t<device float>, float>",
        "is_same_v<remove_cv_t<const volatile int>, int>",
        "is_convertible_v<half, float> && !is_convertible_v<half4, float4>",
        "!is_convertible_v<half, bfloat> && is_convertible_v<float, float4>",
        "is_same_v<conditional_t<true, int, float>, int>",
        "numeric_limits<half>::max() == 65504.0h && numeric_limits<half>::lowest() == -65504.0h",
        "numeric_limits<float>::infinity() > FLT_MAX && numeric_limits<int>::min() == INT_MIN",
        "numeric_limits<uchar>::max() == 255 && numeric_limits<long>::max() == LONG_MAX",
        "float(numeric_limits<bfloat>::max()) > 3.38e38f && numeric_limits<bfloat>::digits == 8",
        "!(numeric_limits<float>::quiet_NaN() == numeric_limits<float>::quiet_NaN())",
        "as_type<uint>(1.0f) == 0x3f800000u && as_type<ushort>(1.0h) == 0x3c00",
        "M_PI_F > 3.14f && INFINITY > MAXFLOAT && HALF_MIN > 0.0h",
        "__METAL_VERSION__ >= 310 && __HAVE_BFLOAT__",
    )
    assembly("\n".join(f"static_assert({fact});" for fact in facts))


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("u[0] = max(1, u[1]);", "ambiguous"),
        ("f[0] = max(f[1], 0);", "ambiguous"),
        ("f[0] = exp(i[0]);", "ambiguous"),
        ("f4[0] = max(f4[1], h2[0]);", "no matching function"),
        ("f4[0] = fma(f4[1], f4[2], half4(1));", "no matching function"),
        ("i3[0] = exp(i3[1]);", "no matching function"),
        ("i[0] = popcount(f[1]);", "no matching function"),
        ("f[0] = dot(f4[0], f4[1].xyz);", "no matching function"),
        ("f4[0] = select(f4[1], f4[2], i3[0]);", "no matching function"),
        ("u[0] = as_type<uint>(h[0]);", "no matching function for call to 'as_type'"),
        ("f[0] = nosuchfunction(f[1]);", "undeclared identifier 'nosuchfunction'"),
    ],
)
def test_calls_that_metal_refuses_are_refused(statement, complaint):
    errors = complaints(f"void f({POINTERS}) {{ {statement} }}")
    assert re.search(complaint, errors), errors
