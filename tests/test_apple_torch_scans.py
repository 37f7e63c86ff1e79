"""PyTorch's own Metal kernels that scan along rows and down columns, beside PyTorch."""

from __future__ import annotations

import itertools

import pytest
import torch
from apple_torch_cases import FLOATS, METAL, REAL, close, sampled, unwritten, values
from test_apple_torch import library
from torch import Tensor

# Outer size, elements along the axis, elements from one to the next along the axis.
COLUMNS = [(1, 70, 40), (3, 33, 32), (2, 5, 7)]
ROWS = [(3, 200), (2, 1025), (5, 7), (1, 9000)]  # the last goes round


def scan(name: str, x: Tensor, *outputs: Tensor) -> None:
    """Down the columns of x (outer, axis, inner), or along the rows of x (rows, axis)."""
    reads = 4 if x.itemsize <= 4 else 2  # elements of a thread in each round
    if x.dim() == 2:
        wanted = -(-x.shape[1] // (32 * reads)) * 32
        sizes, groups, group = [x.shape[1]], (1, x.shape[0], 1), min(wanted, 1024)
    else:
        outer, axis, inner = x.shape
        blocks = -(-inner // 32)
        sizes, groups, group = [axis, inner, blocks], (1, outer * blocks, 1), 1024 // reads
    kernel = getattr(
        library(), f"{name}_{'innermost' if x.dim() == 2 else 'outer'}_{METAL[x.dtype]}"
    )
    kernel(x, *outputs, *sizes, threadgroups=groups, group_size=group)


@sampled("name shape dtype", itertools.product(["cummin", "cummax"], [*COLUMNS, *ROWS], REAL), 7)
def test_running_extremes_and_where_they_are(name, shape, dtype):
    x = values(dtype, *shape, most=40)
    out, places = unwritten(dtype, *shape), unwritten(torch.int64, *shape)
    scan(name, x, out, places)
    expected = getattr(torch, name)(x, 1)
    assert torch.equal(out, expected.values)
    assert torch.equal(places, expected.indices)


@pytest.mark.parametrize("name", ["cummin", "cummax"])
def test_running_extremes_of_what_is_not_a_number(name):
    x = torch.randn(2, 40, 9)
    x[0, 7, 3] = x[1, 0, 0] = torch.nan
    out, places = unwritten(x.dtype, *x.shape), unwritten(torch.int64, *x.shape)
    scan(name, x, out, places)
    expected = getattr(torch, name)(x, 1)
    torch.testing.assert_close(out, expected.values, rtol=0, atol=0, equal_nan=True)


@sampled("shape dtype", itertools.product([*COLUMNS, *ROWS], FLOATS), 4)
def test_running_sums_of_exponentials(shape, dtype):
    x = values(dtype, *shape)
    out = unwritten(dtype, *shape)
    scan("logcumsumexp", x, out)
    close(out, x.float().logcumsumexp(1), 4)
