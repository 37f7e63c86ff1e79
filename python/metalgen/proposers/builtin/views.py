"""Operators that only rearrange: each becomes an index transformation, none copies."""

from __future__ import annotations

from collections.abc import Callable

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.division import unflatten
from metalgen.proposers.builtin.graph import aligned, reshaped, view
from metalgen.proposers.builtin.indexing import ZERO, Index
from metalgen.proposers.builtin.registry import Call, Result, fixed, lowers
from metalgen.proposers.builtin.tensors import Idx, Tensor


@lowers("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "flatten", "squeeze_copy")
def lower_reshape(call: Call) -> Result:
    return reshaped(call.args[0], call.shape, call.name)


@lowers("copy")
def lower_copy(call: Call) -> Result:
    source: Tensor = call.args[1]
    return view(source, call.shape, lambda index: aligned(index, source.shape), call.name)


@lowers("clone", "alias", "detach", "lift_fresh_copy", "contiguous", "lift_fresh", "dropout")
def lower_identity(call: Call) -> Result:
    source: Tensor = call.args[0]
    return source


@lowers("native_dropout")
def lower_native_dropout(call: Call) -> Result:
    if call.args[2] and call.args[1]:
        raise UnsupportedError("not supported: dropout in training mode draws random numbers")
    return (call.args[0], None)


@lowers("expand", "broadcast_to")
def lower_expand(call: Call) -> Result:
    source: Tensor = call.args[0]
    return view(source, call.shape, lambda index: aligned(index, source.shape), call.name)


@lowers("permute", "transpose", "t", "movedim")
def lower_permute(call: Call) -> Result:
    source: Tensor = call.args[0]
    order = _order(call, len(source.shape))

    def transform(index: Idx) -> Idx:
        result: list[Index] = [ZERO] * len(order)
        for position, dim in enumerate(order):
            result[dim] = index[position]
        return tuple(result)

    return view(source, call.shape, transform, call.name)


def _order(call: Call, rank: int) -> list[int]:
    if len(call.args) == 3:
        order = list(range(rank))
        first, second = call.args[1] % rank, call.args[2] % rank
        order[first], order[second] = order[second], order[first]
        return order
    if len(call.args) == 1:
        return list(reversed(range(rank)))
    return [dim % rank for dim in call.args[1]]


@lowers("slice")
def lower_slice(call: Call) -> Result:
    source: Tensor = call.args[0]
    dim = fixed(call.argument(1, "dim", 0), "a dimension") % len(source.shape)
    start = _from_front(call.argument(2, "start") or 0, source.shape[dim])
    step = fixed(call.argument(4, "step", 1), "a step")
    return moved(call, source, dim, lambda coordinate: coordinate * step + start)


def _from_front(position: int | Index, size: Index) -> Index:
    value = Index.of(position)
    if value.constant is not None and value.constant < 0:
        return size + value if size.constant is None else Index.of(max(0, (size + value).hint))
    return value


def moved(call: Call, source: Tensor, dim: int, change: Callable[[Index], Index]) -> Result:
    """A view of `call`'s shape with the coordinate of `dim` changed."""

    def transform(index: Idx) -> Idx:
        return (*index[:dim], change(index[dim]), *index[dim + 1 :])

    return view(source, call.shape, transform, call.name)


@lowers("select")
def lower_select(call: Call) -> Result:
    source: Tensor = call.args[0]
    return selected(source, fixed(call.args[1], "a dimension"), call.args[2], call.name)


def selected(source: Tensor, dim: int, position: int | Index, name: str) -> Tensor:
    """One slice of `source`, the dimension gone."""
    dim %= len(source.shape)
    at = _from_front(position, source.shape[dim])
    shape = (*source.shape[:dim], *source.shape[dim + 1 :])
    return view(source, shape, lambda index: (*index[:dim], at, *index[dim:]), name)


@lowers("unbind")
def lower_unbind(call: Call) -> Result:
    source: Tensor = call.args[0]
    dim = call.argument(1, "dim", 0)
    return tuple(selected(source, dim, i, f"{call.name}_{i}") for i, _ in enumerate(call.value))


@lowers("split_with_sizes", "split", "chunk", "tensor_split")
def lower_split(call: Call) -> Result:
    source: Tensor = call.args[0]
    dim = call.argument(2, "dim", 0) % len(source.shape)
    parts: list[Tensor] = []
    start = ZERO
    for i, shape in enumerate(call.shapes()):
        parts.append(_part(source, dim, start, shape, f"{call.name}_{i}"))
        start = start + shape[dim]
    return tuple(parts)


def _part(source: Tensor, dim: int, start: Index, shape: Idx, name: str) -> Tensor:
    def transform(index: Idx) -> Idx:
        return (*index[:dim], index[dim] + start, *index[dim + 1 :])

    return view(source, shape, transform, name)


@lowers("flip")
def lower_flip(call: Call) -> Result:
    source: Tensor = call.args[0]
    flipped = {dim % len(source.shape) for dim in call.args[1]}

    def transform(index: Idx) -> Idx:
        return tuple(
            size - 1 - at if dim in flipped else at
            for dim, (at, size) in enumerate(zip(index, source.shape, strict=True))
        )

    return view(source, call.shape, transform, call.name)


@lowers("repeat")
def lower_repeat(call: Call) -> Result:
    source: Tensor = call.args[0]

    def transform(index: Idx) -> Idx:
        kept = index[len(index) - len(source.shape) :]
        return tuple(at % size for at, size in zip(kept, source.shape, strict=True))

    return view(source, call.shape, transform, call.name)


@lowers("diagonal")
def lower_diagonal(call: Call) -> Result:
    source: Tensor = call.args[0]
    rank = len(source.shape)
    offset = fixed(call.argument(1, "offset", 0), "an offset")
    first = call.argument(2, "dim1", 0) % rank
    second = call.argument(3, "dim2", 1) % rank

    def transform(index: Idx) -> Idx:
        rest = list(index[:-1])
        places = {first: index[-1] + max(0, -offset), second: index[-1] + max(0, offset)}
        return tuple(places[dim] if dim in places else rest.pop(0) for dim in range(rank))

    return view(source, call.shape, transform, call.name)


@lowers("as_strided")
def lower_as_strided(call: Call) -> Result:
    source: Tensor = call.args[0]
    strides = [Index.of(stride) for stride in call.args[2]]
    offset = Index.of(call.argument(3, "storage_offset") or 0)

    def transform(index: Idx) -> Idx:
        place = offset
        for at, stride in zip(index, strides, strict=True):
            place = place + at * stride
        return unflatten(place, source.shape)

    return view(source, call.shape, transform, call.name)


@lowers("pixel_shuffle")
def lower_pixel_shuffle(call: Call) -> Result:
    source: Tensor = call.args[0]
    factor = fixed(call.args[1], "an upscale factor")
    *lead, _, _, _ = source.shape

    def transform(index: Idx) -> Idx:
        *outer, channel, row, column = index
        inner = (channel * factor + row % factor) * factor + column % factor
        return (*outer[: len(lead)], inner, row // factor, column // factor)

    return view(source, call.shape, transform, call.name)
