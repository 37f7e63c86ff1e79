"""Metal item by item: `msl/values.txt` holds sources and the numbers they must compute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import metalgen
from metalgen.compiler import CompileOptions

PREAMBLE = "#include <metal_stdlib>\nusing namespace metal;\n"
KERNEL = "kernel void f(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]])"


def _table():
    text = (Path(__file__).parent / "msl" / "values.txt").read_text()
    for section in text.split("\n== ")[1:]:
        title, case = section.split("\n\n", 1)
        source, numbers = case.rsplit("\n=> ", 1)
        yield pytest.param(source, [float(n) for n in numbers.split()], id=title)


@pytest.mark.parametrize(("source", "expected"), list(_table()))
def test_it_computes_what_the_specification_says(source, expected):
    whole = source if "kernel void" in source else f"{KERNEL} {{\n{source}\n}}"
    out = torch.full((64,), -99.0)
    threads = 32 if len(expected) == 32 else 1
    options = CompileOptions(standard="metal4.0")  # one has a lambda
    library = metalgen.compile_shader(PREAMBLE + whole, options=options)
    library.f(out, threads=threads, group_size=32)
    torch.testing.assert_close(out[: len(expected)], torch.tensor(expected), rtol=1e-3, atol=1e-3)
