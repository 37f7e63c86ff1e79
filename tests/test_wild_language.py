"""Constructs of Metal sources at large, each in a kernel that is compiled and run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import metalgen
from metalgen.compiler.integers import integer_value

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"


def library(source):
    return metalgen.compile_shader(PREAMBLE + source)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1300 + 0", 1300),
        ("(1 << 4) | 3u", 19),
        ("0x1F", 31),
        ("010", 8),
        ("7 / 2 * 2 % 4", 2),
        ("-7 / 2", -3),
        ("~0 & 15", 15),
        ("1'000", 1000),
        ("kIndex", None),
        ("1 / 0", None),
        ("1 << 99", None),
        ("__import__('os')", None),
        ("1.5", None),
        ("2 ** 9", None),
        ("", None),
    ],
)
def test_integer_constant_expressions_have_the_value_that_cpp_gives_them(text, value):
    assert integer_value(text) == value


def test_function_constants_may_have_computed_indices():
    out = torch.zeros(2)
    kernel = library("""
        #define BASE 300
        constant float scale [[function_constant(BASE + 1)]];
        constant bool twice [[function_constant((BASE | 2) << 1)]];
        kernel void f(device float* out, uint i [[thread_position_in_grid]]) {
          out[i] = twice ? 2 * scale : scale;
        }
    """).f
    kernel(out, threads=2, constants={301: 2.5, 604: True})
    assert out.tolist() == [5, 5]
