"""PyTorch's own Metal kernels of matrix factors, beside NumPy: Cholesky's by blocks, pivots.

`U` kernels read and write A[row][column], `L` kernels A[column][row], as LAPACK's order has it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from apple_cases import assert_close
from test_apple_torch import library
from torch import Tensor

BLOCK = 32
GROUP = {"group_size": (32, 8, 1)}


def positive_definite(batch: int, n: int) -> Tensor:
    a = torch.randn(batch, n, n)
    return a @ a.mT / n + torch.eye(n)


def cholesky(a: Tensor) -> Tensor:
    return torch.from_numpy(np.linalg.cholesky(a.double().numpy())).float()


def factor(a: Tensor, side: str) -> Tensor:
    """Factors every matrix in place, a block of columns after the other; what each reported."""
    batch, n, _ = a.shape
    run = library()
    info = torch.zeros(batch, dtype=torch.int32)
    blocks = -(-n // BLOCK)
    for k in range(blocks):
        sizes = n, BLOCK, k
        diagonal = getattr(run, f"factorDiagonalBlock{side}")
        diagonal(a, info, *sizes, threadgroups=(batch, 1, 1), **GROUP)
        below = blocks - k - 1
        if below:
            solve, update = (getattr(run, f"apply{name}{side}") for name in ("TRSM", "SYRK"))
            solve(a, *sizes, threadgroups=(batch, below, 1), **GROUP)
            pairs = below * (below + 1) // 2
            update(a, *sizes, threadgroups=(batch, pairs, 1), **GROUP)
    return info


# One block and several, ending in whole 8 x 8 matrices of a SIMD-group and not.
@pytest.mark.parametrize(("batch", "n"), [(3, 7), (1, 32), (2, 88), (2, 101)])
@pytest.mark.parametrize("side", ["U", "L"])
def test_cholesky_factors(side, batch, n):
    a = positive_definite(batch, n)
    expected = cholesky(a)
    info = factor(a, side)
    assert info.tolist() == [0] * batch
    found = a.tril() if side == "U" else a.triu().mT
    assert_close(found, expected, 2e-5)


@pytest.mark.parametrize("side", ["U", "L"])
def test_each_step_of_a_block_of_columns(side):
    n, near, far = 88, slice(0, BLOCK), slice(BLOCK, None)
    a = positive_definite(1, n)
    held = a[0] if side == "U" else a[0].mT
    corner, rows, rest = held[near, near].clone(), held[far, near].clone(), held[far, far].clone()
    sizes = n, BLOCK, 0
    diagonal = getattr(library(), f"factorDiagonalBlock{side}")
    diagonal(a, torch.zeros(1, dtype=torch.int32), *sizes, threadgroups=1, **GROUP)
    lower = cholesky(corner)
    assert_close(held[near, near].tril(), lower, 2e-5)
    getattr(library(), f"applyTRSM{side}")(a, *sizes, threadgroups=(1, 2, 1), **GROUP)
    solved = torch.linalg.solve_triangular(lower, rows.mT, upper=False).mT
    assert_close(held[far, near], solved, 2e-5)
    getattr(library(), f"applySYRK{side}")(a, *sizes, threadgroups=(1, 3, 1), **GROUP)
    assert_close(held[far, far].tril(), (rest - solved @ solved.mT).tril(), 2e-5)


@pytest.mark.parametrize("side", ["U", "L"])
def test_a_matrix_that_is_not_positive_definite_is_reported(side):
    a = positive_definite(2, 20)
    a[1, 12, 12] = -1
    assert factor(a, side).tolist() == [0, 13]


@pytest.mark.parametrize(("batch", "n"), [(1, 8), (3, 7), (2, 300)])
def test_row_exchanges_become_permutations(batch, n):
    # LAPACK's pivots, from 1: row i was exchanged with one that was not yet in its place.
    pivots = torch.stack([torch.randint(i, n, (batch,)) for i in range(n)], dim=1).int() + 1
    expected, _, _ = torch.lu_unpack(found := torch.eye(n).repeat(batch, 1, 1), pivots)
    arguments = found, pivots - 1, n, n
    library().applyPivots(*arguments, threadgroups=(batch, 1, 1), group_size=(64, 1, 1))
    assert torch.equal(found, expected)
