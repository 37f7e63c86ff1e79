"""Apple's kernels of attention's gradient, beside autograd; many heads that share keys.

MLX goes through the scores in tiles and multiplies matrices between these kernels, here PyTorch
does: scores and their gradients, then each tile's part of the gradients of keys and values, which
are added for the heads that share them.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import pytest
import torch
from apple_cases import FLOATS, Launch, apple, assert_close, run
from samples_of import every
from test_apple_attention import (
    KINDS,
    NAMES,
    TOLERANCE,
    attention,
    causal,
    many_queries,
    one_query,
    some,
)
from torch import Tensor

ROWS, COLUMNS = 32, 48  # of a tile


@dataclass(frozen=True)
class Problem:
    """Queries (heads, rows, width), keys and values (shared, columns, width), and a gradient."""

    q: Tensor
    k: Tensor
    v: Tensor
    gradient: Tensor
    is_causal: bool

    @property
    def group(self) -> int:
        return self.q.shape[0] // self.k.shape[0]

    def expected(self) -> list[Tensor]:
        given = [x.float().requires_grad_() for x in (self.q, self.k, self.v)]
        mask = causal(self.q.shape[1], self.k.shape[1]) if self.is_causal else None
        attention(*given, mask).backward(self.gradient.float())
        return [x.grad for x in given if x.grad is not None]

    def of_rows(self) -> tuple[Tensor, Tensor]:
        """The logarithm of each row's sum, and its output times its gradient."""
        mask = causal(self.q.shape[1], self.k.shape[1]) if self.is_causal else None
        k = self.k.float().repeat_interleave(self.group, 0)
        scores = self.q.float() @ k.mT / self.q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        output = attention(self.q, self.k, self.v, mask)
        return scores.logsumexp(-1), (output * self.gradient.float()).sum(-1)


def product(a: Tensor, b: Tensor) -> Tensor:
    return (a.float() @ b.float()).to(a.dtype)


def kernel(name: str, dtype: torch.dtype, arguments: list[object], *threads: int) -> None:
    run_kernel = apple().kernel(f"sdpa_vjp_{name}_{NAMES[dtype]}")
    run_kernel(*arguments, threads=threads, group_size=(32, 4, 1))


def by_tiles(problem: Problem) -> list[Tensor]:
    """The gradients of queries, keys and values."""
    dtype, (heads, length, width) = problem.q.dtype, problem.q.shape
    keys, shared = problem.k.shape[1], problem.k.shape[0]
    sums, products = problem.of_rows()
    of_q = torch.zeros(heads, length, width)
    kept = [torch.full((shared, keys, width), torch.nan) for _ in range(2)]
    out = [torch.empty(shared, keys, width, dtype=dtype) for _ in range(2)]
    k, v = (x.repeat_interleave(problem.group, 0) for x in (problem.k, problem.v))
    for i, j in itertools.product(range(0, length, ROWS), range(0, keys, COLUMNS)):
        rows, columns = slice(i, i + ROWS), slice(j, j + COLUMNS)
        q, gradient = problem.q[:, rows], problem.gradient[:, rows]
        scores = product(q, k[:, columns].mT)
        slope = product(gradient, v[:, columns].mT)
        count, across = scores.shape[1:]
        tile = struct.pack("=5i", count, across, length, i, j)
        tile += struct.pack("=f2i", width**-0.5, keys - length, problem.is_causal)
        weights, back = torch.empty_like(scores), torch.empty_like(scores)
        held = [scores, slope, sums, products, back, weights, tile]
        kernel("ds", dtype, held, across, count, heads)
        of_q[:, rows] += product(back, k[:, columns]).float()
        for at, part in enumerate((product(back.mT, q), product(weights.mT, gradient))):
            sizes = [across, width, problem.group, keys, j]
            name = "reduce_add" if i else "reduce_set"
            kernel(name, dtype, [part, kept[at], out[at], *sizes], width, across, shared)
    for total, rounded in zip(kept, out, strict=True):
        assert torch.equal(total.to(dtype), rounded)
    return [of_q, *kept]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_attention_gradients_by_tiles_and_heads_that_share_keys(dtype, is_causal):
    heads, shared, length, keys, width = 6, 2, 45, 70, 64
    q, gradient = some(dtype, heads, length, width), some(dtype, heads, length, width)
    k, v = some(dtype, shared, keys, width), some(dtype, shared, keys, width)
    problem = Problem(q, k, v, gradient, is_causal)
    for found, expected in zip(by_tiles(problem), problem.expected(), strict=True):
        assert_close(found, expected, TOLERANCE[dtype])


SHARED_KEYS = [(kind, dtype, heads) for kind in KINDS for dtype in FLOATS for heads in (16, 64)]


def check(name: str, launch: Launch) -> None:
    for index, result in run(apple(), name, launch).items():
        assert_close(result, launch.expected[index], launch.tolerance)


@pytest.mark.parametrize(
    ("kind", "dtype", "heads"),
    every(5, SHARED_KEYS),
)
def test_attention_of_many_heads_that_share_keys(kind, dtype, heads):
    check(f"sdpa_vector_{NAMES[dtype]}_64_64", one_query(dtype, 64, kind, heads))
    mask = "bool_" if kind == "bool" else str(dtype).removeprefix("torch.")
    tiles = "bq32_bk32_bd64_bv64_wm4_wn1"
    name = f"steel_attention_{str(dtype).removeprefix('torch.')}_{tiles}_mask{mask}"
    check(name, many_queries(dtype, kind, heads=heads))
