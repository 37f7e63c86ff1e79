"""Max, average and adaptive pooling, and upsampling by nearest neighbours."""

from __future__ import annotations

import math
from typing import Any

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.capture import SizeError
from metalgen.proposers.builtin.contractions import Window, scaled, windowed, windows
from metalgen.proposers.builtin.expressions import Expr, IndexValue, apply, convert, number
from metalgen.proposers.builtin.gathers import all_of, guarded, inside
from metalgen.proposers.builtin.indexing import Index
from metalgen.proposers.builtin.registry import Call, Result, fixed, lowers
from metalgen.proposers.builtin.tensors import Idx, Read, Reduction, Tensor


def _setting(values: Any, default: list[int]) -> list[int]:
    return [*values] if values else default


@lowers("max_pool1d", "max_pool2d", "max_pool3d")
def lower_max_pool(call: Call) -> Result:
    return _max_pool(call, call.shape)


@lowers("max_pool2d_with_indices", "max_pool3d_with_indices")
def lower_max_pool_with_indices(call: Call) -> Result:
    if any(user.args[1] == 1 and user.users for user in call.node.users):
        raise UnsupportedError("not supported: the indices that max pooling returns")
    return _max_pool(call, call.shapes()[0]), None


def _max_pool(call: Call, shape: Idx) -> Tensor:
    kernel = [*call.args[1]]
    rank = len(kernel)
    window = windows(
        kernel,
        _setting(call.argument(2, "stride"), kernel),
        _setting(call.argument(3, "padding"), [0] * rank),
        _setting(call.argument(4, "dilation"), [1] * rank),
    )
    ragged = bool(call.argument(5, "ceil_mode", False))
    lowest = number(-math.inf)
    return windowed(call, call.args[0], window, "max", lowest, shape=shape, ragged=ragged)


@lowers("avg_pool1d", "avg_pool2d", "avg_pool3d")
def lower_avg_pool(call: Call) -> Result:
    kernel = [*call.args[1]]
    rank = len(kernel)
    stride = _setting(call.argument(2, "stride"), kernel)
    padding = _setting(call.argument(3, "padding"), [0] * rank)
    if call.argument(4, "ceil_mode", False):
        raise UnsupportedError("not supported: average pooling with ceil_mode")
    window = windows(kernel, stride, padding, [1] * rank)
    total = windowed(call, call.args[0], window, "sum", number(0.0), shape=call.shape)
    divisor = call.argument(6, "divisor_override")
    if call.argument(5, "count_include_pad", True) or divisor or not any(padding):
        count = divisor or math.prod(w.size for w in window)
        return scaled(call, total, call.shape, lambda index: number(1.0 / count))
    return scaled(call, total, call.shape, lambda index: _inverse_count(call, window, index))


def _inverse_count(call: Call, window: tuple[Window, ...], index: Idx) -> Expr:
    """1 / how many places of the window lie inside the input."""
    count: Expr = number(1.0)
    lead = len(index) - len(window)
    for w, o, size in zip(window, index[lead:], call.args[0].shape[lead:], strict=True):
        start = convert(IndexValue("int", w.place(o, Index())), "float")
        end = apply("min", apply("add", start, number(float(w.size))), _float_size(size))
        count = apply("mul", count, apply("sub", end, apply("max", start, number(0.0))))
    return apply("div", number(1.0), count)


def _float_size(size: Index) -> Expr:
    if size.constant is not None:
        return number(float(size.constant))
    return convert(IndexValue("int", size), "float")


@lowers("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
def lower_adaptive_avg_pool(call: Call) -> Result:
    source: Tensor = call.args[0]
    sizes = source.shape[len(source.shape) - len(call.args[1]) :]
    outputs = [fixed(size, "the output of adaptive pooling") for size in call.args[1]]
    if all(size % count == 0 for size, count in zip(sizes, outputs, strict=True)):
        return _even_adaptive(call, [s // o for s, o in zip(sizes, outputs, strict=True)])
    return _uneven_adaptive(call, sizes, outputs)


@lowers("adaptive_max_pool2d", "adaptive_max_pool3d")
def lower_adaptive_max_pool(call: Call) -> Result:
    if any(user.args[1] == 1 and user.users for user in call.node.users):
        raise UnsupportedError("not supported: the indices that max pooling returns")
    source: Tensor = call.args[0]
    sizes = source.shape[len(source.shape) - len(call.args[1]) :]
    outputs = [fixed(size, "the output of adaptive pooling") for size in call.args[1]]
    if any(size % count != 0 for size, count in zip(sizes, outputs, strict=True)):
        if any(size.constant is None for size in sizes):
            raise SizeError("adaptive max pooling needs windows of equal size")
        raise UnsupportedError("not supported: adaptive max pooling with windows of unequal size")
    steps = [size // count for size, count in zip(sizes, outputs, strict=True)]
    return _even_windows(call, call.shapes()[0], steps, "max"), None


def _even_windows(call: Call, shape: Idx, steps: list[Index], kind: str) -> Reduction:
    """`kind` over windows of the same size, which may depend on the input's."""
    source: Tensor = call.args[0]
    lead = len(source.shape) - len(steps)

    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        places = [o * step + k for o, step, k in zip(outer[lead:], steps, inner, strict=True)]
        return read(source, (*outer[:lead], *places))

    inner = tuple(steps)
    return Reduction(call.name, shape, source.dtype, kind, inner, (source,), body, label=call.name)


def _even_adaptive(call: Call, steps: list[Index]) -> Result:
    total = _even_windows(call, call.shape, steps, "sum")

    def inverse(index: Idx) -> Expr:
        count: Expr = number(1.0)
        for step in steps:
            count = apply("mul", count, _float_size(step))
        return apply("div", number(1.0), count)

    return scaled(call, total, call.shape, inverse)


def _uneven_adaptive(call: Call, sizes: Idx, outputs: list[int]) -> Result:
    """Window o covers floor(o * size / outputs) up to ceil((o + 1) * size / outputs)."""
    source: Tensor = call.args[0]
    lead = len(source.shape) - len(sizes)
    longest = tuple(
        (size + count - 1) // count + 1 for size, count in zip(sizes, outputs, strict=True)
    )

    def bounds(o: Index, size: Index, count: int) -> tuple[Index, Index]:
        return o * size // count, ((o + 1) * size + (count - 1)) // count

    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        tests: list[Expr] = []
        places: list[Index] = []
        for o, k, size, count in zip(outer[lead:], inner, sizes, outputs, strict=True):
            start, end = bounds(o, size, count)
            places.append(start + k)
            test = inside(k, end - start)
            tests += [test] if test is not None else []
        return guarded(all_of(tests), read(source, (*outer[:lead], *places)), number(0.0))

    total = Reduction(
        call.name, call.shape, source.dtype, "sum", longest, (source,), body, True, label=call.name
    )

    def inverse(index: Idx) -> Expr:
        count: Expr = number(1.0)
        for o, size, outs in zip(index[lead:], sizes, outputs, strict=True):
            start, end = bounds(o, size, outs)
            count = apply("mul", count, convert(IndexValue("int", end - start), "float"))
        return apply("div", number(1.0), count)

    return scaled(call, total, call.shape, inverse)
