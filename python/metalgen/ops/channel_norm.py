"""Normalisation of channels: group norm; batch norm with kept statistics or the batch's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import (
    DEVICES,
    DTYPES,
    check_row_parameter,
    check_same_device,
    check_tensors,
)
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import ceil_div, kernel_for, kernel_named, threads_for_row

_GROUP = 256  # threads


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) · weight[c] + bias[c] over each of `num_groups` groups.

    x is (n, c, ...), weight and bias (c,); the variance is the biased one. Wu and He, "Group
    Normalization" (2018). Raises LaunchError.
    """
    check_tensors("group_norm", x=x, weight=weight, bias=bias)
    channels = _channels("group_norm", x)
    if num_groups < 1 or channels % num_groups:
        raise LaunchError(
            f"group_norm: expected num_groups that divide {channels}, found {num_groups}"
        )
    check_row_parameter("group_norm", "weight", weight, channels)
    check_row_parameter("group_norm", "bias", bias, channels)
    result: Tensor = _group_norm(x, num_groups, weight, bias, eps)
    return result


def batch_norm(
    x: Tensor,
    mean: Tensor | None = None,
    variance: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean[c]) / sqrt(variance[c] + eps) · weight[c] + bias[c] for x (n, c, ...).

    Without `mean` and `variance` those of the batch are taken, the biased ones; kept statistics are
    of x's dtype or float32. Ioffe and Szegedy, "Batch Normalization" (2015). Raises LaunchError.
    """
    check_tensors("batch_norm", x=x, weight=weight, bias=bias)
    channels = _channels("batch_norm", x)
    if (mean is None) != (variance is None):
        raise LaunchError("batch_norm: expected mean and variance, or neither, found one")
    for name, tensor in (("mean", mean), ("variance", variance)):
        if tensor is not None and tensor.dtype not in (x.dtype, torch.float32):
            raise LaunchError(
                f"batch_norm: expected {name} of {DTYPES[x.dtype]} or float32, found {tensor.dtype}"
            )
        check_same_device("batch_norm", name, tensor, x)
        check_row_parameter("batch_norm", name, tensor, channels)
    check_row_parameter("batch_norm", "weight", weight, channels)
    check_row_parameter("batch_norm", "bias", bias, channels)
    result: Tensor = _batch_norm(x, mean, variance, weight, bias, eps)
    return result


def _channels(operation: str, x: Tensor) -> int:
    if x.dim() < 2:
        raise LaunchError(f"{operation}: expected x (n, c, ...), found {tuple(x.shape)}")
    return x.shape[1]


def _own(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


@torch.library.custom_op("metalgen::group_norm", mutates_args=(), device_types=DEVICES)
def _group_norm(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    if result.numel() == 0:
        return result
    images, channels = x.shape[:2]
    inner = x[0, 0].numel()
    kernel_for("group_norm", x)(
        x.contiguous(),
        _own(weight),
        _own(bias),
        result,
        channels // groups,
        inner,
        groups,
        eps,
        threadgroups=(images * groups,),
        group_size=(threads_for_row(x, channels // groups * inner),),
        constants={"has_weight": weight is not None, "has_bias": bias is not None},
    )
    return result


@_group_norm.register_fake
def _(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


differentiate(_group_norm, functional.group_norm)


@torch.library.custom_op("metalgen::batch_norm", mutates_args=(), device_types=DEVICES)
def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    if result.numel() == 0:
        return result
    x = x.contiguous()
    images, channels = x.shape[:2]
    inner = x[0, 0].numel()
    if mean is None or variance is None:
        mean, variance = _statistics(x, images, channels, inner)
    if mean.dtype != variance.dtype:
        mean, variance = mean.float(), variance.float()
    kernel = kernel_for("batch_norm", x)
    if mean.dtype != x.dtype:
        kernel = kernel_named(f"batch_norm_{DTYPES[x.dtype]}_float32")
    kernel(
        x,
        mean.contiguous(),
        variance.contiguous(),
        _own(weight),
        _own(bias),
        result,
        channels,
        inner,
        eps,
        threads=(ceil_div(inner, 4), images * channels),
        group_size=(min(_GROUP, ceil_div(inner, 4)), 1),
        constants={"has_weight": weight is not None, "has_bias": bias is not None},
    )
    return result


def _statistics(x: Tensor, images: int, channels: int, inner: int) -> tuple[Tensor, Tensor]:
    mean, variance = (x.new_empty(channels, dtype=torch.float32) for _ in range(2))
    kernel_for("batch_statistics", x)(
        x,
        mean,
        variance,
        images,
        channels,
        inner,
        threadgroups=(channels,),
        group_size=(threads_for_row(x, images * inner),),
    )
    return mean, variance


@_batch_norm.register_fake
def _(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _batch_formula(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Written out: torch's own takes kept statistics for constants."""
    others = [d for d in range(x.dim()) if d != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    if mean is None or variance is None:
        variance, mean = torch.var_mean(x.float(), others, correction=0)
    y = (x.float() - mean.view(shape)) * torch.rsqrt(variance.view(shape) + eps)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = y + bias.view(shape)
    return y.to(x.dtype)


differentiate(_batch_norm, _batch_formula)
