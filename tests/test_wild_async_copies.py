"""Copies of whole tiles by SIMD-groups, as ports of flash attention declare them for themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from threadgroups import Dispatcher

import metalgen
from metalgen.air import Metallib
from metalgen.compiler import CompileOptions, compile_source
from metalgen.software import translate

SOURCE = Path(__file__).parent / "msl" / "wild" / "async_copies.metal"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("sizes", [(32, 48, 64), (33, 21, 50), (1, 1, 1)])
def test_tiles_are_copied_with_zeros_behind_the_edges(dtype, sizes):
    m, n, k = sizes
    a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    c = torch.full((m, n), -7.0, dtype=dtype)
    kernel = library().kernel(f"product_{'float' if dtype == torch.float32 else 'half'}")
    kernel(
        a,
        b,
        c,
        threadgroups=(-(-n // 16), -(-m // 16)),
        group_size=128,
        threadgroup_memory={0: 2 * 256 * dtype.itemsize},
        constants={"M": m, "N": n, "K": k},
    )
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(c, (a.float() @ b.float()).to(dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lanes", [32, 7])
def test_rows_are_copied_and_edges_repeated_by_the_lanes_that_are_there(lanes):
    n, rows = 40, 3
    x = torch.arange(n * rows, dtype=torch.int16).reshape(rows, n)
    y = torch.full((rows, 64), -1, dtype=torch.int16)
    library().edges(x, y, n, threadgroups=rows, group_size=lanes)
    expected = torch.cat([x, x[:, -1:].expand(rows, 64 - n)], 1).flip(0)
    assert torch.equal(y, expected)


def library():
    return metalgen.compile_shader(SOURCE.read_text(), options=CompileOptions(math="safe"))


@pytest.mark.parametrize("strands", ["simdgroup", "thread"])
def test_threads_on_their_own_copy_as_whole_simdgroups_do(strands):
    metallib = Metallib(compile_source(SOURCE.read_text(), options=CompileOptions(math="safe")))
    kernel = translate(metallib.bitcode("edges"), "edges", strands=strands)
    x = np.arange(120, dtype=np.int16).reshape(3, 40)
    y = np.full((3, 64), -1, np.int16)
    Dispatcher(kernel, {0: x, 1: y, 2: np.array([40], np.uint32)}).run((96, 1, 1), (32, 1, 1))
    assert np.array_equal(y, np.pad(x, ((0, 0), (0, 24)), "edge")[::-1])
