"""Operators whose elements come from places that depend on conditions or on other tensors."""

from __future__ import annotations

import itertools

import torch

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.division import is_less, is_never_negative
from metalgen.proposers.builtin.expressions import (
    Constant,
    Expr,
    IndexValue,
    apply,
    compute_type,
    convert,
    number,
)
from metalgen.proposers.builtin.graph import aligned, constant_tensor, literal, named
from metalgen.proposers.builtin.indexing import ZERO, Fetched, Index
from metalgen.proposers.builtin.registry import Call, Result, fixed, lowers
from metalgen.proposers.builtin.sizes import as_one_size
from metalgen.proposers.builtin.tensors import Idx, Pointwise, Read, Tensor

_fetched = itertools.count()
MOST_PARTS = 8


def inside(coordinate: Index, size: Index) -> Expr | None:
    """Whether a coordinate lies in a dimension; None where that is certain.

    One comparison does for both ends: what is below zero wraps to a large unsigned number.
    """
    if is_never_negative(coordinate) and is_less(coordinate, size):
        return None
    place = IndexValue("uint", coordinate)
    return apply("lt", place, IndexValue("uint", size), type_="bool")


def all_of(conditions: list[Expr]) -> Expr | None:
    """The conjunction, or None for none."""
    result: Expr | None = None
    for condition in conditions:
        result = condition if result is None else apply("and", result, condition)
    return result


def guarded(condition: Expr | None, value: Expr, otherwise: Expr) -> Expr:
    """`value` where the condition holds; elsewhere `value` must not be evaluated."""
    if condition is None:
        return value
    return apply("guard", condition, value, convert(otherwise, value.type))


@lowers("cat", "concat")
def lower_cat(call: Call) -> Result:
    parts: list[Tensor] = [part for part in call.args[0] if part.shape != (ZERO,)]
    dim = call.argument(1, "dim", 0) % len(call.shape)
    while len(parts) > MOST_PARTS:
        # A kernel can name only so many buffers: parts are joined by the handful first.
        groups = [parts[i : i + MOST_PARTS] for i in range(0, len(parts), MOST_PARTS)]
        parts = [_joined(call, group, dim, f"{call.name}_{i}") for i, group in enumerate(groups)]
    return _joined(call, parts, dim, call.name)


def _joined(call: Call, parts: list[Tensor], dim: int, name: str) -> Tensor:
    """The parts one behind the other along `dim`."""
    type_ = compute_type(call.dtype)
    starts = [ZERO]
    for part in parts:
        end = starts[-1] + part.shape[dim]
        starts.append(as_one_size(end, f"{name}_start{len(starts)}") if len(parts) > 4 else end)
    whole = name == call.name
    length = call.shape[dim] if whole else starts[-1]
    shape = (*call.shape[:dim], length, *call.shape[dim + 1 :])

    def body(index: Idx, read: Read) -> Expr:
        return _part(index, read, 0)

    def _part(index: Idx, read: Read, position: int) -> Expr:
        at = (*index[:dim], index[dim] - starts[position], *index[dim + 1 :])
        value = convert(read(parts[position], at), type_)
        if position + 1 == len(parts):
            return value
        place, end = IndexValue("uint", index[dim]), IndexValue("uint", starts[position + 1])
        condition = apply("lt", place, end, type_="bool")
        return apply("guard", condition, value, _part(index, read, position + 1))

    return Pointwise(name, shape, call.dtype, tuple(parts), body, label="cat")


@lowers("constant_pad_nd")
def lower_pad(call: Call) -> Result:
    source: Tensor = call.args[0]
    padding = [Index.of(amount) for amount in call.args[1]]
    fill = literal(call.argument(2, "value", 0) or 0)
    rank = len(source.shape)
    before = {rank - 1 - i: padding[2 * i] for i in range(len(padding) // 2)}

    def body(index: Idx, read: Read) -> Expr:
        place = tuple(at - before.get(dim, ZERO) for dim, at in enumerate(index))
        tests = [inside(place[dim], source.shape[dim]) for dim in sorted(before)]
        condition = all_of([test for test in tests if test is not None])
        return named(guarded(condition, read(source, place), fill), call.name)

    return Pointwise(call.name, call.shape, call.dtype, (source,), body, label="pad")


@lowers("slice_scatter", "select_scatter")
def lower_scatter_slice(call: Call) -> Result:
    base, source = call.args[0], call.args[1]
    dim = call.argument(2, "dim", 0) % len(base.shape)
    size = base.shape[dim]
    if "select" in str(call.node.target):
        at = Index.of(call.args[3])
        start = at + size if (at.constant or 0) < 0 else at
        end, step, dropped = start + 1, 1, True
    else:
        start = Index.of(call.argument(3, "start") or 0)
        step, dropped = fixed(call.argument(5, "step", 1), "a step"), False
        end = start + source.shape[dim] * step

    def body(index: Idx, read: Read) -> Expr:
        where = index[dim]
        offset = where - start
        tests: list[Expr | None] = [inside(offset, end - start)]
        if step != 1:
            tests.append(
                apply("eq", IndexValue("uint", offset % step), Constant("uint", 0), type_="bool")
            )
        middle: Idx = () if dropped else (offset // step,)
        value = convert(
            read(source, (*index[:dim], *middle, *index[dim + 1 :])), compute_type(call.dtype)
        )
        condition = all_of([test for test in tests if test is not None])
        return named(guarded(condition, value, read(base, index)), call.name)

    return Pointwise(call.name, call.shape, call.dtype, (base, source), body, label="scatter")


def fetched(value: Expr, size: Index) -> Index:
    """A whole number read from memory as an index; negative ones count from the end."""
    place = convert(value, "long")
    wrapped = apply(
        "select",
        apply("lt", place, Constant("long", 0), type_="bool"),
        apply("add", place, IndexValue("long", size)),
        place,
    )
    return Index.of(Fetched(f"fetched{next(_fetched)}", wrapped))


@lowers("embedding")
def lower_embedding(call: Call) -> Result:
    table, places = call.args[0], call.args[1]

    def body(index: Idx, read: Read) -> Expr:
        row = fetched(read(places, index[:-1]), table.shape[0])
        return read(table, (row, index[-1]))

    return Pointwise(call.name, call.shape, call.dtype, (table, places), body, label="embedding")


@lowers("index_select")
def lower_index_select(call: Call) -> Result:
    source, dim, places = call.args
    dim %= len(source.shape)

    def body(index: Idx, read: Read) -> Expr:
        at = fetched(read(places, (index[dim],)), source.shape[dim])
        return read(source, (*index[:dim], at, *index[dim + 1 :]))

    return Pointwise(
        call.name, call.shape, call.dtype, (source, places), body, label="index_select"
    )


@lowers("gather")
def lower_gather(call: Call) -> Result:
    source, dim, places = call.args[:3]
    dim %= max(len(source.shape), 1)

    def body(index: Idx, read: Read) -> Expr:
        at = fetched(read(places, index), source.shape[dim])
        return read(source, (*index[:dim], at, *index[dim + 1 :]))

    return Pointwise(call.name, call.shape, call.dtype, (source, places), body, label="gather")


@lowers("index", "_unsafe_index")
def lower_index(call: Call) -> Result:
    """source[i, j, :]: index tensors broadcast together stand where the first of them stood."""
    source: Tensor = call.args[0]
    given: list[Tensor | None] = [*call.args[1]]
    given += [None] * (len(source.shape) - len(given))
    used = [i for i, places in enumerate(given) if places is not None]
    if any(places is not None and places.dtype == torch.bool for places in given):
        raise UnsupportedError("not supported: indexing by a mask (its result's size is unknown)")
    rank = len(call.shape) - (len(given) - len(used))
    first = used[0] if used == list(range(used[0], used[-1] + 1)) else 0

    def body(index: Idx, read: Read) -> Expr:
        shared = index[first : first + rank]
        rest = [*index[:first], *index[first + rank :]]
        place: list[Index] = []
        for dim, places in enumerate(given):
            if places is None:
                place.append(rest.pop(0))
            else:
                value = read(places, aligned(shared, places.shape))
                place.append(fetched(value, source.shape[dim]))
        return read(source, tuple(place))

    sources = (source, *(places for places in given if places is not None))
    return Pointwise(call.name, call.shape, call.dtype, sources, body, label="index")


@lowers("arange")
def lower_arange(call: Call) -> Result:
    start, step = (call.argument(0, "start", 0), call.argument(2, "step", 1))
    type_ = compute_type(call.dtype)

    def body(index: Idx, read: Read) -> Expr:
        if isinstance(start, float) or isinstance(step, float):
            count = convert(IndexValue("uint", index[0]), "float")
            scaled = apply("mul", count, number(float(step)))
            return apply("add", scaled, number(float(start)))
        place = index[0] * Index.of(step) + Index.of(start)
        return convert(IndexValue("long", place), type_)

    return Pointwise(call.name, call.shape, call.dtype, (), body, cost=0)


@lowers("full", "full_like", "new_full", "scalar_tensor", "fill")
def lower_full(call: Call) -> Result:
    position = {"scalar_tensor": 0, "new_full": 2}.get(_bare(call), 1)
    value = call.args[position]
    if isinstance(value, Index):
        value = IndexValue("long", value)
    constant = value if isinstance(value, Expr) else literal(value)
    return constant_tensor(
        call.name, call.shape, call.dtype, convert(constant, compute_type(call.dtype))
    )


@lowers(
    "zeros",
    "ones",
    "zeros_like",
    "ones_like",
    "new_zeros",
    "new_ones",
    "empty",
    "empty_like",
    "new_empty",
    "empty_permuted",
    "empty_strided",
)
def lower_filled(call: Call) -> Result:
    amount = number(1.0 if "ones" in _bare(call) else 0.0)
    return constant_tensor(
        call.name, call.shape, call.dtype, convert(amount, compute_type(call.dtype))
    )


def _bare(call: Call) -> str:
    return str(call.node.target).removeprefix("aten.").split(".")[0]
