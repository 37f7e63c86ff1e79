"""Reductions over dimensions, softmax and variance, spelt out as reductions and pointwise nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.expressions import (
    Expr,
    IndexValue,
    apply,
    compute_type,
    convert,
    number,
)
from metalgen.proposers.builtin.graph import (
    count_of,
    normalized_dims,
    pointwise,
    reduction,
    reshaped,
    view,
)
from metalgen.proposers.builtin.indexing import ONE, ZERO, Index
from metalgen.proposers.builtin.registry import Call, Result, lowers
from metalgen.proposers.builtin.tensors import Idx, Scan, Tensor


def _reduced(
    call: Call,
    kind: str,
    dims: Any,
    keep: bool,
    function: Callable[[Expr], Expr] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    source: Tensor = call.args[0]
    type_ = compute_type(call.dtype)
    inner = function or (lambda value: convert(value, type_))
    return reduction(
        kind,
        source,
        normalized_dims(dims, len(source.shape)),
        dtype or call.dtype,
        keep=bool(keep),
        name=call.name,
        label=call.name,
        function=inner,
    )


@lowers("sum", "nansum")
def lower_sum(call: Call) -> Result:
    return _reduced(call, "sum", call.argument(1, "dim"), call.argument(2, "keepdim", False))


@lowers("mean")
def lower_mean(call: Call) -> Result:
    dims = normalized_dims(call.argument(1, "dim"), len(call.args[0].shape))
    total = _reduced(call, "sum", dims, call.argument(2, "keepdim", False), dtype=torch.float32)
    return divided(total, count_of(call.args[0], dims), call.name, call.dtype)


def divided(total: Tensor, count: Index, name: str, dtype: torch.dtype) -> Tensor:
    """total / count"""
    return pointwise(
        name, total.shape, dtype, [total], lambda value: apply("div", value, size_value(count))
    )


def size_value(size: Index) -> Expr:
    """A size as a float."""
    if size.constant is not None:
        return number(float(size.constant))
    return convert(IndexValue("uint", size), "float")


@lowers("prod")
def lower_prod(call: Call) -> Result:
    return _reduced(call, "prod", call.argument(1, "dim"), call.argument(2, "keepdim", False))


@lowers("amax", "amin")
def lower_extreme(call: Call) -> Result:
    kind = call.node.target.__name__.split(".")[0].removeprefix("a")  # type: ignore[union-attr]
    return _reduced(call, kind, call.argument(1, "dim"), call.argument(2, "keepdim", False))


@lowers("any", "all")
def lower_truth(call: Call) -> Result:
    kind = call.node.target.__name__.split(".")[0]  # type: ignore[union-attr]
    dims, keep = call.argument(1, "dim"), call.argument(2, "keepdim", False)
    return _reduced(call, kind, dims, keep, lambda value: convert(value, "bool"))


@lowers("argmax", "argmin")
def lower_position(call: Call) -> Result:
    kind = call.node.target.__name__.split(".")[0]  # type: ignore[union-attr]
    dim, keep = call.argument(1, "dim"), call.argument(2, "keepdim", False)
    return _reduced(call, kind, dim, keep, lambda value: value)


@lowers("max", "min")
def lower_max_with_index(call: Call) -> Result:
    kind = call.node.target.__name__.split(".")[0]  # type: ignore[union-attr]
    source: Tensor = call.args[0]
    if not isinstance(call.value, list | tuple):
        return _reduced(call, kind, None, False)
    dims = normalized_dims(call.argument(1, "dim"), len(source.shape))
    keep = bool(call.argument(2, "keepdim", False))
    values = reduction(
        kind, source, dims, source.dtype, keep=keep, name=f"{call.name}_value", label=call.name
    )
    places = reduction(
        f"arg{kind}", source, dims, torch.int64, keep=keep, name=f"{call.name}_index"
    )
    return values, places


@lowers("var", "var_mean", "std")
def lower_var(call: Call) -> Result:
    source: Tensor = call.args[0]
    dims = normalized_dims(call.argument(1, "dim"), len(source.shape))
    correction = call.kwargs.get("correction")
    keep = bool(call.kwargs.get("keepdim", False))
    dtype = call.value[0].dtype if isinstance(call.value, list | tuple) else call.dtype
    mean = mean_of(source, dims, call.name, dtype)
    variance = variance_of(source, mean, dims, call.name, 1 if correction is None else correction)
    if call.node.target.__name__.startswith("std"):  # type: ignore[union-attr]
        root = variance
        variance = pointwise(
            call.name, root.shape, dtype, [root], lambda value: apply("sqrt", value)
        )
    kept = variance if keep else without(variance, dims)
    if isinstance(call.value, list | tuple):
        return kept, mean if keep else without(mean, dims)
    return kept


def mean_of(source: Tensor, dims: Sequence[int], name: str, dtype: torch.dtype) -> Tensor:
    """The mean over `dims`, which stay with size 1."""
    total = reduction(
        "sum", source, dims, torch.float32, keep=True, name=f"{name}_sum", label=f"{name}_mean"
    )
    return divided(total, count_of(source, dims), f"{name}_mean", torch.float32)


def variance_of(
    source: Tensor, mean: Tensor, dims: Sequence[int], name: str, correction: float
) -> Tensor:
    """Mean squared distance from the mean in two passes, dims kept with size 1."""
    distance = pointwise(
        f"{name}_centered", source.shape, torch.float32, [source, mean], lambda x, m: square(x, m)
    )
    total = reduction(
        "sum", distance, dims, torch.float32, keep=True, name=f"{name}_squares", label=name
    )
    count = count_of(source, dims)

    def divide(value: Expr) -> Expr:
        below = size_value(count)
        if correction:
            below = apply("sub", below, number(float(correction)))
        return apply("div", value, below)

    return pointwise(f"{name}_variance", total.shape, torch.float32, [total], divide)


def square(value: Expr, mean: Expr) -> Expr:
    """(value - mean) squared"""
    distance = apply("sub", value, mean)
    return apply("mul", distance, distance)


def without(tensor: Tensor, dims: Sequence[int]) -> Tensor:
    """Dimensions of size 1 taken out."""
    shape = tuple(size for i, size in enumerate(tensor.shape) if i not in set(dims))

    def transform(index: Idx) -> Idx:
        rest = list(index)
        return tuple(ZERO if i in set(dims) else rest.pop(0) for i in range(len(tensor.shape)))

    return view(tensor, shape, transform)


@lowers("_softmax", "softmax", "_safe_softmax")
def lower_softmax(call: Call) -> Result:
    source: Tensor = call.args[0]
    dims = normalized_dims(call.args[1], len(source.shape))
    exponential, total, _ = _exponentials(call, source, dims)
    return pointwise(
        call.name,
        call.shape,
        call.dtype,
        [exponential, total],
        lambda value, sum_: apply("div", value, sum_),
        label="softmax",
    )


@lowers("_log_softmax", "log_softmax")
def lower_log_softmax(call: Call) -> Result:
    source: Tensor = call.args[0]
    dims = normalized_dims(call.args[1], len(source.shape))
    _, total, largest = _exponentials(call, source, dims)

    def function(value: Expr, sum_: Expr, most: Expr) -> Expr:
        return apply("sub", apply("sub", value, most), apply("log", sum_))

    operands = [source, total, largest]
    return pointwise(call.name, call.shape, call.dtype, operands, function, label="log_softmax")


def _exponentials(call: Call, source: Tensor, dims: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """exp(x - max), its sum, and the maximum."""
    name = call.name.strip("_")
    largest = reduction(
        "max", source, dims, torch.float32, keep=True, name=f"{name}_max", label=name
    )
    exponential = pointwise(
        f"{name}_exp",
        source.shape,
        torch.float32,
        [source, largest],
        lambda value, most: apply("exp", apply("sub", value, most)),
    )
    total = reduction("sum", exponential, dims, torch.float32, keep=True, name=f"{name}_sum")
    return exponential, total, largest


@lowers("cumsum", "cumprod")
def lower_scan(call: Call) -> Result:
    source: Tensor = call.args[0]
    if not source.shape:
        return source
    kind = "sum" if call.node.target.__name__.startswith("cumsum") else "prod"  # type: ignore[union-attr]
    dim = call.args[1] % len(source.shape)
    if call.dtype != source.dtype:
        type_ = compute_type(call.dtype)
        source = pointwise(
            f"{call.name}_input", source.shape, call.dtype, [source], lambda x: convert(x, type_)
        )
    return Scan(
        call.name, call.shape, call.dtype, kind=kind, dim=dim, source=source, label=call.name
    )


@lowers("logcumsumexp", "cummax", "cummin", "sort", "topk", "median", "kthvalue", "mode")
def refuse_order(call: Call) -> Result:
    raise UnsupportedError(f"not supported: {call.node.target} (sorting and running extremes)")


@lowers("linalg_vector_norm", "norm")
def lower_norm(call: Call) -> Result:
    source: Tensor = call.args[0]
    order = float(call.argument(1, "ord", 2.0))
    dims = normalized_dims(call.argument(2, "dim"), len(source.shape))
    keep = bool(call.argument(3, "keepdim", False))
    if order == float("inf") or order == 1.0:
        kind = "sum" if order == 1.0 else "max"
        return _reduced(call, kind, dims, keep, lambda value: apply("fabs", value))
    if order != 2.0:
        raise UnsupportedError(f"not supported: norm of order {order} (1, 2 and inf are)")
    total = _reduced(call, "sum", dims, keep, lambda value: apply("mul", value, value))
    return pointwise(
        call.name, total.shape, call.dtype, [total], lambda value: apply("sqrt", value)
    )


def broadcast_channels(tensor: Tensor, rank: int) -> Tensor:
    """A tensor [C] as [C, 1, 1, ...] so that it broadcasts over [N, C, ...]."""
    return reshaped(tensor, (*tensor.shape, *([ONE] * (rank - 2))))
