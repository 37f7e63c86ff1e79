"""Maths modes, of a whole source and of sections of it, and which forms functions have."""

from __future__ import annotations

import pytest
import torch

import metalgen
from metalgen.compiler import CompileOptions, compile_source
from metalgen.errors import CompileError

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
# What underflows comes back only where the order of operations counts for nothing.
ROUNDED = "kernel void f(device float* o) { %s o[1] = o[0] * 1e-30f * 1e30f; }"
BODIES = {
    "in a function": ROUNDED % "\n#pragma METAL fp math_mode({})\n",
    "at file scope": "#pragma METAL fp math_mode({})\n" + ROUNDED % "",
    "in a block": ROUNDED.replace("%s o[1]", "{{\n#pragma METAL fp math_mode({})\n o[1]") + "}}",
    "in a namespace": "namespace n {{\n#pragma METAL fp math_mode({})\n" + ROUNDED % "" + "}}",
    "in a template": (
        "template <typename T> T g(T a) {{\n#pragma METAL fp math_mode({})\n"
        "return a * 1e-30f * 1e30f; }} kernel void f(device float* o) {{ o[1] = g(o[0]); }}"
    ),
    "called": (
        "#pragma METAL fp math_mode({})\nfloat g(float a) {{ return a * 1e-30f * 1e30f; }}\n"
        "kernel void f(device float* o) {{ o[1] = g(o[0]); }}"
    ),
}


def build(source, **options):
    return metalgen.compile_shader(PREAMBLE + source, options=CompileOptions(**options))


def rounded(source, **options):
    out = torch.tensor([1e-20, -1.0])
    library = build(source, **options)
    library.kernel(library.names[0])(out, threads=1)
    return round(out[1].item() * 1e20)


@pytest.mark.parametrize(("math", "expected"), [("fast", 1), ("relaxed", 1), ("safe", 0)])
def test_the_mode_of_a_source_decides_whether_sums_may_be_reordered(math, expected):
    assert rounded(ROUNDED % "", math=math) == expected


@pytest.mark.parametrize("where", BODIES)
def test_a_safe_section_keeps_the_order_of_operations_in_fast_mode(where):
    source = BODIES[where].replace("{{", "{").replace("}}", "}")
    assert rounded(source.replace("{}", "safe"), math="fast") == 0


@pytest.mark.parametrize("setting", ["math_mode(safe) contract(off)", "contract(off)"])
def test_products_of_vectors_are_not_fused_in_a_section_that_says_so(setting):
    source = """
        kernel void f(device float* o) {
        #pragma METAL fp SETTING
          float4 x = float4(o[0]), y = float4(o[1]);
          o[2] = (x * x - y).z;
        }
    """.replace("SETTING", setting)
    x = torch.tensor(1.0 + 2**-12)
    out = torch.stack([x, x * x, x])
    build(source).f(out, threads=1)
    assert out[2] == 0


def test_a_safe_section_holds_for_vectors_too():
    source = """
        kernel void f(device float* o) {
        #pragma METAL fp math_mode(safe)
          float2 x = float2(o[0]);
          o[1] = (x * 1e-30f * 1e30f).y;
        }
    """
    out = torch.tensor([1e-20, -1.0])
    build(source).f(out, threads=1)
    assert out[1] == 0


def test_a_section_ends_with_its_block():
    source = (
        "kernel void f(device float* o) { {\n#pragma METAL fp math_mode(safe)\n o[1] += 1; }\n"
        " o[1] = o[0] * 1e-30f * 1e30f; }"
    )
    assert rounded(source, math="fast") == 1


@pytest.mark.parametrize(("contract", "fused"), [("off", False), ("fast", True), ("on", True)])
def test_a_section_says_whether_products_are_fused_with_sums(contract, fused):
    source = (
        f"kernel void f(device float* o) {{\n#pragma METAL fp contract({contract})\n"
        " o[2] = o[0] * o[0] - o[1]; }"
    )
    x = torch.tensor(1.0 + 2**-12, dtype=torch.float32)
    out = torch.stack([x, x * x, x])
    build(source, math="safe").f(out, threads=1)
    assert (out[2] != 0) == fused  # what the product lost to rounding


@pytest.mark.parametrize(
    ("math", "functions", "fast"),
    [
        ("fast", None, True),
        ("relaxed", None, True),
        ("safe", None, False),
        ("fast", "precise", False),
        ("safe", "fast", True),
    ],
)
def test_functions_of_floats_have_the_form_that_is_asked_for(math, functions, fast):
    source = PREAMBLE + "kernel void f(device float* o) { o[0] = exp(o[0]); }"
    library = metalgen.air.Metallib(
        compile_source(source, options=CompileOptions(math=math, functions=functions))
    )
    assert (b"fast_exp" in library.bitcode("f")) == fast


def test_infinities_and_nans_are_kept_in_every_mode():
    source = "kernel void f(device float* o) { o[0] = isnan(o[0]); o[1] = isinf(o[1]); }"
    for math in ("fast", "relaxed", "safe"):
        out = torch.tensor([float("nan"), float("inf")])
        build(source, math=math).f(out, threads=1)
        assert out.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("pragma", "message"),
    [
        ("math_mode(quick)", "found 'math_mode(quick)'"),
        ("denormals(on)", "found 'denormals(on)'"),
        ("", "found ''"),
        ("math_mode safe", "found 'math_mode safe'"),
    ],
)
def test_an_unknown_setting_is_refused_with_those_that_there_are(pragma, message):
    with pytest.raises(CompileError, match=r"expected 'math_mode\(fast\|relaxed\|safe\)' or") as e:
        build(f"#pragma METAL fp {pragma}\nkernel void f(device float* o) {{ o[0] = 1; }}")
    assert message in str(e.value)


def test_a_setting_behind_a_statement_is_refused():
    with pytest.raises(CompileError, match="at the start of a compound statement"):
        build("kernel void f(device float* o) { o[0] = 1;\n#pragma METAL fp math_mode(safe)\n}")
