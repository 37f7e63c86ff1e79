"""PyTorch's own Metal kernels that multiply matrices of integers, beside PyTorch."""

from __future__ import annotations

import torch
from apple_torch_cases import INTEGERS, METAL, sampled, unwritten, values
from test_apple_torch import library

one_of_them = sampled("dtype", [(dtype,) for dtype in INTEGERS], 3)
GRID = {"threads": (32, 32), "group_size": (16, 16)}


@one_of_them
def test_products_of_matrices(dtype):
    a, b = values(dtype, 20, 35), values(dtype, 24, 35)
    product = a @ b.T  # wraps where it overflows
    out, strides = unwritten(dtype, 20, 24), [35, 1, 1, 35, 24, 1]
    run = getattr(library(), f"matmul_{METAL[dtype]}")
    run(a, b, out, strides, (20, 35, 24), **GRID)
    assert torch.equal(out, product)
    bias = values(dtype, 20, 24)
    run = getattr(library(), f"addmm_{METAL[dtype]}")
    run(a, b, out, bias, (3, 2), [*strides, 24, 1], (20, 35, 24), **GRID)
    assert torch.equal(out, 3 * product + 2 * bias)


@one_of_them
def test_products_of_batches(dtype):
    a, b = values(dtype, 3, 20, 35), values(dtype, 3, 35, 24)
    out = unwritten(dtype, 3, 20, 24)
    strides = [1, 35, 700, 1, 24, 840, 1, 24, 480]
    run = getattr(library(), f"naive_bmm_{METAL[dtype]}")
    grid = {"threadgroups": (2, 2, 3), "group_size": (16, 16, 1)}
    run(a, b, out, strides, (20, 35, 24, 3), **grid)
    assert torch.equal(out, a @ b)
