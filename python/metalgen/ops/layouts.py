"""How tensors lie in memory, as kernels that take strides want to know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


def memory_of(tensor: Tensor) -> Tensor:
    """All of the memory between a view's first and last element, as a vector."""
    if tensor.is_contiguous():
        return tensor
    span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.as_strided((span,), (1,))


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """Matrices (..., rows, columns) whose lines, or whose columns as lines, are contiguous."""

    tensor: Tensor
    transposed: bool
    pitch: int  # elements from one line to the next


def stored(matrix: Tensor) -> StoredMatrix:
    """The matrices as they lie, copied only where neither direction is contiguous."""
    (rows, columns), (down, across) = matrix.shape[-2:], matrix.stride()[-2:]
    if across == 1 or columns == 1:
        if columns > 1 or rows == 1 or down != 1:
            return StoredMatrix(matrix, False, down if rows > 1 else columns)
        return StoredMatrix(matrix, True, across if columns > 1 else rows)
    if down == 1 or rows == 1:
        return StoredMatrix(matrix, True, across)
    return StoredMatrix(matrix.contiguous(), False, columns)


@dataclass(frozen=True, slots=True)
class Batches:
    """Two levels of batches, outer and inner, with the strides of each operand's matrices."""

    outer: int
    inner: int
    strides: tuple[tuple[int, int], ...]  # (outer, inner) of each operand


def batches(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Batches | None:
    """Batch dimensions folded into two levels; None where the strides do not allow it."""
    folded: list[tuple[int, tuple[int, ...]]] = []
    for size, steps in zip(shape, zip(*strides, strict=True), strict=True):
        if size == 1:
            continue
        if folded and all(s == step * size for s, step in zip(folded[-1][1], steps, strict=True)):
            folded[-1] = (folded[-1][0] * size, steps)
        else:
            folded.append((size, steps))
    if len(folded) > 2:
        return None
    none = (1, (0,) * len(strides))
    outer, inner = [none] * (2 - len(folded)) + folded
    return Batches(outer[0], inner[0], tuple(zip(outer[1], inner[1], strict=True)))
