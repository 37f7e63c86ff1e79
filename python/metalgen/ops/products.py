"""Which kernels a matrix product runs: tiles, tiles that split the sum, matrix and vector."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metalgen.kernel_table import Variant
from metalgen.ops.layouts import Batches, StoredMatrix, batches, memory_of, stored
from metalgen.ops.library import SIMDGROUP, ceil_div, kernel_for, kernel_of
from metalgen.ops.winners import choose

_COLUMNS_OF_GROUP = 128  # of gemv_columns, as in metal/gemv.metal


@dataclass(frozen=True, slots=True)
class Following:
    """What follows a product: activation(a b + bias) + residual."""

    bias: Tensor | None = None
    bias_along: int = 1  # 0: an entry for each row of the result, 1: for each column
    residual: Tensor | None = None  # contiguous, of the result's shape
    activation: int = 0

    @classmethod
    def of_rows(cls, bias: Tensor | None, residual: Tensor | None, activation: int) -> Following:
        """With an entry of `bias` for each row, a convolution's channel; copied where strided."""
        own = [None if tensor is None else tensor.contiguous() for tensor in (bias, residual)]
        return cls(own[0], 0, own[1], activation)

    @property
    def flags(self) -> dict[str | int, int | float | bool]:
        """The function constants that say what there is."""
        return {"has_bias": self.bias is not None, "has_residual": self.residual is not None}


def multiply(a: Tensor, b: Tensor, result: Tensor, following: Following) -> None:
    """result = activation(a b + bias) + residual; operands broadcast over the result's batches.

    `result` is contiguous and not empty, (..., m, n); a (..., m, k) and b (..., k, n).
    """
    m, n = result.shape[-2:]
    if a.shape[-1] == 0:
        a, b = a.new_zeros((m, 1)), b.new_zeros((1, n))  # an empty sum
    if (
        b.dim() == 2
        and a.dim() > 2
        and following.bias_along == 1
        and (flat := _flat(a)) is not None
    ):
        a, result = flat, result.view(-1, n)
        m = result.shape[0]
    left, right, groups = _operands(a, b, result.shape[:-2])
    if n == 1 or m == 1:
        _multiply_vector(left, right, groups, result, following)
    else:
        _multiply_tiles(left, right, groups, result, following)


def _flat(a: Tensor) -> Tensor | None:
    """The matrices of a batch as one, where no copy is needed for that."""
    try:
        return a.view(-1, a.shape[-1])
    except RuntimeError:
        return None


def _operands(
    a: Tensor, b: Tensor, batch: Sequence[int]
) -> tuple[StoredMatrix, StoredMatrix, Batches]:
    for attempt in (_as_they_are, _copied):
        left, right = (stored(attempt(x).expand(*batch, *x.shape[-2:])) for x in (a, b))
        steps = [x.tensor.stride()[: len(batch)] for x in (left, right)]
        groups = batches(batch, steps)
        if groups is not None:
            return left, right, groups
    whole = [stored(x.expand(*batch, *x.shape[-2:]).contiguous()) for x in (a, b)]
    groups = batches(batch, [x.tensor.stride()[: len(batch)] for x in whole])
    assert groups is not None  # contiguous batches fold into one level
    return whole[0], whole[1], groups


def _as_they_are(x: Tensor) -> Tensor:
    return x


def _copied(x: Tensor) -> Tensor:
    return x.contiguous()


def _multiply_tiles(
    a: StoredMatrix, b: StoredMatrix, groups: Batches, result: Tensor, following: Following
) -> None:
    m, n = result.shape[-2:]
    k = a.tensor.shape[-1]
    variant = choose("gemm", result, (m, n, k))
    part = ceil_div(ceil_div(k, variant["splits"]), variant["depth"]) * variant["depth"]
    splits = ceil_div(k, part)
    is_split = splits > 1
    batch = groups.outer * groups.inner
    parts = result.new_empty((batch * splits, m, n), dtype=torch.float32) if is_split else None
    along = (int(following.bias_along == 0), int(following.bias_along == 1))
    sizes = (m, n, k, a.pitch, b.pitch, part, groups.inner, following.activation, *along)
    kernel_of("gemm", variant, result)(
        memory_of(a.tensor),
        memory_of(b.tensor),
        None if is_split else following.bias,
        None if is_split else following.residual,
        None if is_split else result,
        parts,
        struct.pack("<7Ii2I4Q", *sizes, *groups.strides[0], *groups.strides[1]),
        threadgroups=(
            ceil_div(n, variant["columns"]),
            ceil_div(m, variant["rows"]),
            batch * splits,
        ),
        group_size=(SIMDGROUP * variant["down"] * variant["across"], 1, 1),
        constants=following.flags
        | {"a_transposed": a.transposed, "b_transposed": b.transposed, "is_split": is_split},
    )
    if parts is not None:
        kernel_for("gemm_join", result)(
            parts,
            following.bias,
            following.residual,
            result,
            struct.pack("<3Ii2I", m, n, splits, following.activation, *along),
            threads=(n, m, batch),
            group_size=(min(n, 256), 1, 1),
            constants=following.flags,
        )


def _multiply_vector(
    a: StoredMatrix, b: StoredMatrix, groups: Batches, result: Tensor, following: Following
) -> None:
    is_left = b.tensor.shape[-1] == 1  # the matrix is the left operand
    matrix, vector = (a, b) if is_left else (b, a)
    matrix_steps, vector_steps = groups.strides if is_left else groups.strides[::-1]
    by_rows = matrix.transposed != is_left  # whether its lines are what the results are sums along
    count, length = result.shape[-2] * result.shape[-1], a.tensor.shape[-1]
    step = vector.tensor.stride(-2 if is_left else -1)
    bias_step = int(following.bias_along == (0 if is_left else 1))
    sizes = (count, length, matrix.pitch, step, groups.inner, following.activation, bias_step)
    name = "gemv_rows" if by_rows else "gemv_columns"
    variant = choose(name, result, (count, length))
    group = variant["rows"] * variant["simdgroups"] if by_rows else _COLUMNS_OF_GROUP
    kernel_of(name, variant, result)(
        memory_of(matrix.tensor),
        memory_of(vector.tensor),
        following.bias,
        following.residual,
        result,
        struct.pack("<5IiI4x4Q", *sizes, *matrix_steps, *vector_steps),
        threadgroups=(ceil_div(count, group), groups.outer * groups.inner),
        group_size=(SIMDGROUP * variant["simdgroups"], 1),
        constants=following.flags,
    )


def tiled_threads(variant: Variant) -> int:
    """Threads of a threadgroup that computes a tile."""
    return SIMDGROUP * variant["down"] * variant["across"]
