"""Tensors before any kernel exists: each knows how to compute one of its elements from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from metalgen.proposers.builtin.expressions import Expr
from metalgen.proposers.builtin.indexing import Axis, Index

Idx = tuple[Index, ...]
# Gives the expression for one element of a tensor; who reads decides whether to load or to compute.
Read = Callable[["Tensor", Idx], Expr]


@dataclass(eq=False)
class Tensor:
    """A value of the graph: `name` as the graph calls it, dynamic sizes in `shape`."""

    name: str
    shape: Idx
    dtype: torch.dtype
    label: str = field(default="", kw_only=True)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return ()


@dataclass(eq=False)
class Stored(Tensor):
    """An input of `forward`, a parameter or a module's buffer: contiguous in memory."""

    plan_name: str
    is_parameter: bool


@dataclass(eq=False)
class Table(Tensor):
    """A small constant tensor of the module's code, row-major."""

    values: tuple[float | int | bool, ...]


@dataclass(eq=False)
class View(Tensor):
    """Elements of `source` in another arrangement."""

    source: Tensor
    transform: Callable[[Idx], Idx]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self.source,)


@dataclass(eq=False)
class Pointwise(Tensor):
    """Each element computed on its own; `cost` counts operations, `keep` asks for it in memory."""

    sources: tuple[Tensor, ...]
    body: Callable[[Idx, Read], Expr]
    cost: int = 1
    keep: bool = False

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.sources


@dataclass(eq=False)
class Reduction(Tensor):
    """`kind` (sum, prod, max, min, any, all, argmax, argmin) of `body` over the `inner` sizes.

    For argmax and argmin the result is the row-major position within `inner`. `overlaps` says that
    neighbouring results read the same elements, as in pooling.
    """

    kind: str
    inner: Idx
    sources: tuple[Tensor, ...]
    body: Callable[[Idx, Idx, Read], Expr]
    overlaps: bool = False

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.sources


@dataclass(eq=False)
class Matmul(Tensor):
    """result[..., m, n] = sum over k of left(..., m, k) * right(..., k, n), in float."""

    depth: Index
    sources: tuple[Tensor, ...]
    left: Callable[[Idx, Read], Expr]
    right: Callable[[Idx, Read], Expr]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.sources


@dataclass(eq=False)
class Scan(Tensor):
    """Running `kind` (sum, prod) along dimension `dim`."""

    kind: str
    dim: int
    source: Tensor

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self.source,)


def base(tensor: Tensor) -> Tensor:
    """The tensor behind any views."""
    while isinstance(tensor, View):
        tensor = tensor.source
    return tensor


class AxisNames:
    """Hands out axes with names that no other axis has."""

    def __init__(self) -> None:
        self._count = 0

    def fresh(self, shape: Idx) -> tuple[Axis, ...]:
        start = self._count
        self._count += len(shape)
        return tuple(Axis(f"d{start + i}", size) for i, size in enumerate(shape))


def positions(axes: tuple[Axis, ...]) -> Idx:
    """The axes as an index; an axis of size 1 is always at 0."""
    return tuple(Index() if axis.extent == 1 else Index.of(axis) for axis in axes)


def depends_on(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that `tensor` reads, each once, views looked through."""
    seen: set[int] = set()
    for source in tensor.inputs:
        source = base(source)
        if id(source) not in seen:
            seen.add(id(source))
            yield source
