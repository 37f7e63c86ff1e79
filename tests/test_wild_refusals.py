"""Sources that Metal refuses are refused, in Metal's words; `msl/refused.txt` is the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import metalgen
from metalgen.compiler import CompileOptions
from metalgen.errors import CompileError, LaunchError

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
KERNEL = "kernel void f(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]])"
# What the rewriting and the headers are made of must never be shown.
INTERNAL = re.compile(r"__metal|__air|__global|__local\b|__private|__generic|OpenCL|_metalgen_")


def _table():
    text = (Path(__file__).parent / "msl" / "refused.txt").read_text()
    for section in text.split("\n== ")[1:]:
        clause, cases = section.split("\n\n", 1)
        for number, case in enumerate(cases.strip().split("\n\n"), start=1):
            source, message = case.rsplit("\n=> ", 1)
            yield pytest.param(source, message.strip(), id=f"{clause} {number}")


TABLE = list(_table())


@pytest.mark.parametrize(("source", "message"), TABLE)
def test_it_is_refused(source, message):
    with pytest.raises(CompileError) as caught:
        metalgen.compile_shader(PREAMBLE + source.replace("KERNEL", KERNEL))
    assert f"error: {message}" in str(caught.value)
    assert set(INTERNAL.findall(str(caught.value))) <= set(INTERNAL.findall(source))


def test_the_table_is_long_enough_to_mean_something():
    assert len(TABLE) >= 80


@pytest.mark.parametrize("standard", ["metal3.0", "metal3.1", "metal3.2", "metal4.0"])
def test_lambdas_are_refused_below_metal_4_alone(standard):
    source = PREAMBLE + KERNEL + "{ auto l = [&](float v) { return v + i; }; x[i] = l(2); }"
    if standard == "metal4.0":
        out = torch.zeros(2)
        metalgen.compile_shader(source, options=CompileOptions(standard=standard)).f(out, threads=2)
        assert out.tolist() == [2, 3]
        return
    with pytest.raises(CompileError, match="lambda expressions are not supported in Metal"):
        metalgen.compile_shader(source, options=CompileOptions(standard=standard))


@pytest.mark.parametrize(
    "statement",
    [
        "int a[2][2] = {{1, 2}, {3, 4}}; x[i] = a[1][0] + a[0][0] - 4;",
        "switch (i) { case 0: { x[i] = 0; } break; default: (x[i] = 1); }",
        "struct S { float a, b; } s = {1, 2}; auto [p, q] = s; x[i] = p + q - 3;",
        "[[unroll]] for (int n = 0; n < 2; ++n) { x[i] = 0; }",
        "float v[2]{0, 1}; x[i] = v[0];",
    ],
)
def test_what_only_looks_like_a_lambda_or_a_label_is_accepted(statement):
    out = torch.ones(1)
    metalgen.compile_shader(f"{PREAMBLE}{KERNEL} {{ {statement} }}").f(out, threads=1)
    assert out.item() == 0


def test_promises_not_to_throw_unions_and_derived_classes_are_accepted():
    out = torch.zeros(1)
    source = """
        struct A { int v; int get() const thread noexcept { return v; } };
        struct B : A { union { float f; uint u; }; };
        KERNEL { B b; b.v = 2; b.f = 1; x[i] = b.get() + (b.u >> 23); }
    """
    metalgen.compile_shader(PREAMBLE + source.replace("KERNEL", KERNEL)).f(out, threads=1)
    assert out.item() == 129


def test_recursion_and_pointers_to_functions_are_accepted_as_from_metal_2_4_on():
    out = torch.zeros(4)
    source = """
        float factorial(float n) { return n > 1 ? n * factorial(n - 1) : 1; }
        float twice(float n) { return 2 * n; }
        bool odd(uint n); bool even(uint n) { return n == 0 || odd(n - 1); }
        bool odd(uint n) { return n != 0 && even(n - 1); }
        KERNEL { float (*f)(float) = i < 2 ? factorial : twice; x[i] = f(i + 3) + odd(i); }
    """
    for standard in ("metal3.0", "metal4.0"):
        options = CompileOptions(standard=standard)
        metalgen.compile_shader(PREAMBLE + source.replace("KERNEL", KERNEL), options=options).f(
            out, threads=4
        )
        assert out.tolist() == [6, 25, 10, 13]


def test_threadgroup_memory_beyond_the_limit_is_refused_at_launch():
    source = "kernel void f(device float* x) { threadgroup float s[9000]; s[0] = *x; *x = s[1]; }"
    with pytest.raises(LaunchError, match="threadgroup memory"):
        metalgen.compile_shader(PREAMBLE + source).f(torch.zeros(1), threads=1)
