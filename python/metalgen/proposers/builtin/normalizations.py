"""Layer, group, instance and batch normalisation as means, variances and pointwise nodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from metalgen.proposers.builtin.expressions import Expr, apply, number
from metalgen.proposers.builtin.graph import pointwise, reshaped
from metalgen.proposers.builtin.indexing import ONE, Index
from metalgen.proposers.builtin.reductions import (
    broadcast_channels,
    mean_of,
    variance_of,
    without,
)
from metalgen.proposers.builtin.registry import Call, Result, lowers
from metalgen.proposers.builtin.tensors import Tensor


def _normalized(
    call: Call,
    source: Tensor,
    statistics: tuple[Tensor, Tensor],
    affine: Sequence[Tensor | None],
    eps: float,
    *,
    label: str,
) -> Tensor:
    """(x - mean) * rsqrt(variance + eps) * weight + bias, weight and bias where given."""
    weight, bias = affine
    scale = _inverse_root(statistics[1], eps, label)
    operands = [source, statistics[0], scale]
    operands += [tensor for tensor in (weight, bias) if tensor is not None]

    def function(value: Expr, mean: Expr, factor: Expr, *rest: Expr) -> Expr:
        result: Expr = apply("mul", apply("sub", value, mean), factor)
        left = list(rest)
        if weight is not None:
            result = apply("mul", result, left.pop(0))
        return apply("add", result, left.pop(0)) if left else result

    dtype = call.value[0].dtype
    return pointwise(call.name, source.shape, dtype, operands, function, label=label)


def _inverse_root(variance: Tensor, eps: float, name: str) -> Tensor:
    return pointwise(
        f"{name}_scale",
        variance.shape,
        torch.float32,
        [variance],
        lambda value: apply("rsqrt", apply("add", value, number(eps))),
    )


@lowers("native_layer_norm")
def lower_layer_norm(call: Call) -> Result:
    source, normalized, weight, bias, eps = call.args
    rank = len(source.shape)
    dims = tuple(range(rank - len(normalized), rank))
    mean = mean_of(source, dims, "layer_norm", torch.float32)
    variance = variance_of(source, mean, dims, "layer_norm", 0)
    result = _normalized(call, source, (mean, variance), (weight, bias), eps, label="layer_norm")
    return result, mean, _inverse_root(variance, eps, "layer_norm")


@lowers("native_group_norm")
def lower_group_norm(call: Call) -> Result:
    source, weight, bias, _, _, _, groups, eps = call.args
    batch, channels, *space = source.shape
    grouped_shape = (batch, Index.of(groups), channels // groups, *space)
    grouped = reshaped(source, grouped_shape)
    dims = tuple(range(2, len(grouped_shape)))
    mean = mean_of(grouped, dims, "group_norm", torch.float32)
    variance = variance_of(grouped, mean, dims, "group_norm", 0)

    def per_channel(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        return reshaped(tensor, (Index.of(groups), channels // groups, *([ONE] * len(space))))

    affine = (per_channel(weight), per_channel(bias))
    result = _normalized(call, grouped, (mean, variance), affine, eps, label="group_norm")
    statistics = (without(mean, dims), without(variance, dims))
    return (reshaped(result, source.shape), *statistics)


@lowers("_native_batch_norm_legit_no_training")
def lower_batch_norm_in_eval(call: Call) -> Result:
    source, weight, bias, mean, variance, _, eps = call.args
    rank = len(source.shape)
    channels = [None if t is None else broadcast_channels(t, rank) for t in (weight, bias)]
    statistics = (broadcast_channels(mean, rank), broadcast_channels(variance, rank))
    result = _normalized(call, source, statistics, channels, eps, label="batch_norm")
    return result, None, None


@lowers(
    "_native_batch_norm_legit_functional",
    "_native_batch_norm_legit",
    "native_batch_norm",
    "_batch_norm_with_update_functional",
    "_batch_norm_with_update",
)
def lower_batch_norm(call: Call) -> Result:
    if not _uses_batch_statistics(call):
        source, weight, bias, mean, variance = call.args[:5]
        rest = Call(call.node, call.capture, (*call.args[:5], 0.0, call.args[-1]), {})
        return lower_batch_norm_in_eval(rest)
    source, weight, bias = call.args[:3]
    rank = len(source.shape)
    dims = tuple(i for i in range(rank) if i != 1)
    mean = mean_of(source, dims, "batch_norm", torch.float32)
    variance = variance_of(source, mean, dims, "batch_norm", 0)
    channels = [None if t is None else broadcast_channels(t, rank) for t in (weight, bias)]
    eps = call.args[-1]
    result = _normalized(call, source, (mean, variance), channels, eps, label="batch_norm")
    return (result, *([None] * (len(call.value) - 1)))


def _uses_batch_statistics(call: Call) -> bool:
    """Whether the batch's own mean and variance normalise it: training, or no running ones kept."""
    name = str(call.node.target)
    if "with_update" in name:
        return True
    flags = [value for value in call.args[3:] if isinstance(value, bool)]
    return bool(flags[0]) if flags else True
