"""Building blocks of lowering: pointwise nodes with broadcasting, reductions, views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from metalgen.proposers.builtin.division import flatten, unflatten
from metalgen.proposers.builtin.expressions import (
    Apply,
    Constant,
    Expr,
    Load,
    Variable,
    children,
    compute_type,
    walk,
)
from metalgen.proposers.builtin.forms import FORMS
from metalgen.proposers.builtin.indexing import ONE, ZERO, Index, product
from metalgen.proposers.builtin.split import split_reduction
from metalgen.proposers.builtin.tensors import Idx, Pointwise, Read, Reduction, Tensor, View

WRAPS = {torch.int16: "wrap_short", torch.int8: "wrap_char", torch.uint8: "wrap_uchar"}


def aligned(index: Idx, shape: Idx) -> Idx:
    """The index into an operand of `shape` broadcast to the rank of `index`."""
    kept = index[len(index) - len(shape) :]
    return tuple(
        ZERO if size == 1 else coordinate for coordinate, size in zip(kept, shape, strict=True)
    )


def named(value: Expr, name: str) -> Expr:
    """`value` with the graph's name, if it computes anything."""
    return replace(value, name=name) if isinstance(value, Apply) and value.name is None else value


def cost_of(value: Expr) -> int:
    """What the operations in `value` cost in all; those on constants and sizes cost nothing."""
    varying: set[int] = set()
    total = 0
    for part in walk(value):
        if isinstance(part, Variable | Load) or any(id(arg) in varying for arg in children(part)):
            varying.add(id(part))
            total += FORMS[part.form].cost if isinstance(part, Apply) else 0
    return total


def pointwise(
    name: str,
    shape: Idx,
    dtype: torch.dtype,
    sources: Sequence[Tensor],
    function: Callable[..., Expr],
    *,
    label: str = "",
) -> Pointwise:
    """A node that applies `function` to the broadcast elements of `sources`."""
    operands = tuple(sources)

    def body(index: Idx, read: Read) -> Expr:
        values = [read(source, aligned(index, source.shape)) for source in operands]
        return named(narrowed(function(*values), dtype), name)

    sample = function(*(Variable(compute_type(source.dtype), "") for source in operands))
    return Pointwise(
        name, shape, dtype, sources=operands, body=body, cost=cost_of(sample), label=label
    )


def narrowed(value: Expr, dtype: torch.dtype) -> Expr:
    """Integers narrower than int wrap as PyTorch's do."""
    if dtype in WRAPS and isinstance(value, Apply):
        return Apply("int", WRAPS[dtype], (value,))
    return value


def constant_tensor(name: str, shape: Idx, dtype: torch.dtype, value: Expr) -> Pointwise:
    """`value` everywhere."""
    return Pointwise(name, shape, dtype, sources=(), body=lambda index, read: value, cost=0)


def view(source: Tensor, shape: Idx, transform: Callable[[Idx], Idx], name: str = "") -> View:
    return View(name or source.name, shape, source.dtype, source=source, transform=transform)


def reshaped(source: Tensor, shape: Idx, name: str = "") -> Tensor:
    """`source` row-major under another shape."""
    old = source.shape
    if old == shape:
        return source
    head = _same(old, shape)
    tail = _same(old[head:][::-1], shape[head:][::-1])
    middle_old, middle_new = old[head : len(old) - tail], shape[head : len(shape) - tail]

    def transform(index: Idx) -> Idx:
        middle = index[head : len(index) - tail]
        inner = unflatten(flatten(middle, middle_new), middle_old)
        return (*index[:head], *inner, *index[len(index) - tail :])

    return view(source, shape, transform, name)


def _same(left: Idx, right: Idx) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count


def normalized_dims(dims: Sequence[int] | int | None, rank: int) -> tuple[int, ...]:
    """Dimensions counted from the front, sorted; none given means all."""
    if dims is None or (not isinstance(dims, int) and not dims):
        return tuple(range(rank))
    given = [dims] if isinstance(dims, int) else dims
    return tuple(sorted(dim % rank if rank else 0 for dim in given))


def reduction(
    kind: str,
    source: Tensor,
    dims: Sequence[int],
    dtype: torch.dtype,
    *,
    keep: bool = False,
    name: str = "",
    label: str = "",
    function: Callable[[Expr], Expr] = lambda value: value,
) -> Tensor:
    """`kind` of `function(source)` over `dims`; reduced dimensions stay with size 1 if `keep`."""
    rank = len(source.shape)
    reduced = set(dims) if rank else set()
    kept = [i for i in range(rank) if i not in reduced]
    inner_dims = [i for i in range(rank) if i in reduced]

    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        index: list[Index] = [ZERO] * rank
        for position, coordinate in zip((*kept, *inner_dims), (*outer, *inner), strict=True):
            index[position] = coordinate
        return function(read(source, tuple(index)))

    whole = Reduction(
        name or source.name,
        tuple(source.shape[i] for i in kept),
        dtype,
        kind=kind,
        inner=tuple(source.shape[i] for i in inner_dims),
        sources=(source,),
        body=body,
        label=label,
    )
    result = split_reduction(whole)
    if not keep:
        return result
    shape = tuple(ONE if i in reduced else size for i, size in enumerate(source.shape))
    return view(result, shape, lambda index: tuple(index[i] for i in kept))


def count_of(source: Tensor, dims: Sequence[int]) -> Index:
    """How many elements are reduced."""
    return product(source.shape[i] for i in dims) if source.shape else ONE


def literal(value: float | int | bool) -> Constant:
    """A Python number in the compute type that it has in PyTorch."""
    if isinstance(value, bool):
        return Constant("bool", value)
    return Constant("long" if isinstance(value, int) else "float", value)
