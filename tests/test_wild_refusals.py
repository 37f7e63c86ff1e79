"""Sources that Metal refuses are refused, in Metal's words; `msl/refused.txt` is the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import metalgen
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
    assert not INTERNAL.search(str(caught.value))


def test_the_table_is_long_enough_to_mean_something():
    assert len(TABLE) >= 80


def test_threadgroup_memory_beyond_the_limit_is_refused_at_launch():
    source = "kernel void f(device float* x) { threadgroup float s[9000]; s[0] = *x; *x = s[1]; }"
    with pytest.raises(LaunchError, match="threadgroup memory"):
        metalgen.compile_shader(PREAMBLE + source).f(torch.zeros(1), threads=1)
