"""Normalisation along the last dimension."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, check_row_parameter, check_shape, check_tensors
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import kernel_for, threads_for_row


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight along the last dimension, weight of its length.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019). Raises LaunchError.
    """
    _check("rms_norm", x, weight, None)
    result: Tensor = _rms_norm(x, weight, eps)
    return result


def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) · weight + bias along the last dimension.

    Ba, Kiros and Hinton, "Layer Normalization" (2016); the variance is the biased one. Raises
    LaunchError.
    """
    _check("layer_norm", x, weight, bias)
    result: Tensor = _layer_norm(x, weight, bias, eps)
    return result


def add_rms_norm(
    x: Tensor, residual: Tensor, weight: Tensor | None = None, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """rms_norm(x + residual), and x + residual for the next layer. Raises LaunchError."""
    _check("add_rms_norm", x, weight, None)
    _check_residual("add_rms_norm", x, residual)
    y, total = _add_rms_norm(x, residual, weight, eps)
    return y, total


def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """layer_norm(x + residual), and x + residual for the next layer. Raises LaunchError."""
    _check("add_layer_norm", x, weight, bias)
    _check_residual("add_layer_norm", x, residual)
    y, total = _add_layer_norm(x, residual, weight, bias, eps)
    return y, total


def _check_residual(operation: str, x: Tensor, residual: Tensor) -> None:
    check_tensors(operation, x=x, residual=residual)
    check_shape(operation, "residual", residual, x.shape)


def _check(operation: str, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
    check_tensors(operation, x=x, weight=weight, bias=bias)
    if x.dim() == 0:
        raise LaunchError(f"{operation}: expected x of one dimension or more, found a scalar")
    check_row_parameter(operation, "weight", weight, x.shape[-1])
    check_row_parameter(operation, "bias", bias, x.shape[-1])


def _run(operation: str, x: Tensor, parameters: tuple[Tensor | None, ...], eps: float) -> Tensor:
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    if result.numel() == 0:
        return result
    _launch(operation, (x,), parameters, (result,), eps)
    return result


def _run_added(
    operation: str, x: Tensor, residual: Tensor, parameters: tuple[Tensor | None, ...], eps: float
) -> tuple[Tensor, Tensor]:
    y, total = _empty_pair(x)
    if y.numel() == 0:
        return y, total
    _launch(operation, (x, residual), parameters, (total, y), eps)
    return y, total


def _launch(
    operation: str,
    given: tuple[Tensor, ...],
    parameters: tuple[Tensor | None, ...],
    results: tuple[Tensor, ...],
    eps: float,
) -> None:
    """A threadgroup for each row of what is given."""
    x = given[0]
    columns = x.shape[-1]
    present = zip(("has_weight", "has_bias"), parameters, strict=False)
    kernel_for(operation, x)(
        *(tensor.contiguous() for tensor in given),
        *(None if p is None else p.contiguous() for p in parameters),
        *results,
        columns,
        eps,
        threadgroups=(x.numel() // columns,),
        group_size=(threads_for_row(x, columns),),
        constants={name: parameter is not None for name, parameter in present},
    )


def _empty_pair(x: Tensor) -> tuple[Tensor, Tensor]:
    y, total = (torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(2))
    return y, total


@torch.library.custom_op("metalgen::rms_norm", mutates_args=(), device_types=DEVICES)
def _rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    return _run("rms_norm", x, (weight,), eps)


@_rms_norm.register_fake
def _(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


differentiate(_rms_norm, lambda x, weight, eps: functional.rms_norm(x, x.shape[-1:], weight, eps))


@torch.library.custom_op("metalgen::layer_norm", mutates_args=(), device_types=DEVICES)
def _layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    return _run("layer_norm", x, (weight, bias), eps)


@_layer_norm.register_fake
def _(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


differentiate(
    _layer_norm,
    lambda x, weight, bias, eps: functional.layer_norm(x, x.shape[-1:], weight, bias, eps),
)


@torch.library.custom_op("metalgen::add_rms_norm", mutates_args=(), device_types=DEVICES)
def _add_rms_norm(
    x: Tensor, residual: Tensor, weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    return _run_added("add_rms_norm", x, residual, (weight,), eps)


@_add_rms_norm.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    return _empty_pair(x)


def add_rms_norm_formula(
    x: Tensor, residual: Tensor, weight: Tensor | None = None, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """The same by PyTorch."""
    total = x + residual
    return functional.rms_norm(total, x.shape[-1:], weight, eps), total


differentiate(_add_rms_norm, add_rms_norm_formula)


@torch.library.custom_op("metalgen::add_layer_norm", mutates_args=(), device_types=DEVICES)
def _add_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    return _run_added("add_layer_norm", x, residual, (weight, bias), eps)


@_add_layer_norm.register_fake
def _(
    x: Tensor, residual: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    return _empty_pair(x)


def add_layer_norm_formula(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """The same by PyTorch."""
    total = x + residual
    return functional.layer_norm(total, x.shape[-1:], weight, bias, eps), total


differentiate(_add_layer_norm, add_layer_norm_formula)
