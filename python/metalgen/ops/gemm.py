"""Matrix products and what usually follows them: activation(a b + bias) + residual."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.activations import Activation, activation_number, apply_formula
from metalgen.ops.arguments import (
    DEVICES,
    broadcast_shapes,
    check_row_parameter,
    check_shape,
    check_tensors,
)
from metalgen.ops.products import Following, multiply


def fused_gemm(
    a: Tensor,
    b: Tensor,
    bias: Tensor | None = None,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(a @ b + bias) + residual: (..., m, k) by (..., k, n) to (..., m, n).

    bias is (n,), residual of the result's shape; batches broadcast as torch.matmul's do. Transposed
    operands (`weight.T`), slices and strided batches are read in place; a product of a matrix and
    a vector (m or n is 1) runs a kernel for that. Raises LaunchError for shapes, dtypes or devices
    that do not fit and for unknown activations.
    """
    check_tensors("fused_gemm", a=a, b=b, bias=bias, residual=residual)
    shape = _result_shape(a, b)
    check_row_parameter("fused_gemm", "bias", bias, b.shape[-1])
    check_shape("fused_gemm", "residual", residual, shape)
    number = activation_number("fused_gemm", activation)
    result: Tensor = _fused_gemm(a, b, bias, number, residual)
    return result


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x @ weight.T + bias) + residual: (..., k) by (n, k) to (..., n), bias (n,).

    As torch.nn.functional.linear with what follows it. Raises LaunchError.
    """
    check_tensors("linear", x=x, weight=weight, bias=bias, residual=residual)
    if weight.dim() != 2 or x.dim() == 0 or x.shape[-1] != weight.shape[1]:
        found = f"{tuple(x.shape)} and {tuple(weight.shape)}"
        raise LaunchError(f"linear: expected x (..., k) and weight (n, k), found {found}")
    shape = (*x.shape[:-1], weight.shape[0])
    check_row_parameter("linear", "bias", bias, weight.shape[0])
    check_shape("linear", "residual", residual, shape)
    number = activation_number("linear", activation)
    rows = x.unsqueeze(0) if x.dim() == 1 else x
    added = None if residual is None else residual.reshape(*rows.shape[:-1], -1)
    result: Tensor = _fused_gemm(rows, weight.mT, bias, number, added)
    return result.view(shape)


def _result_shape(a: Tensor, b: Tensor) -> tuple[int, ...]:
    found = f"{tuple(a.shape)} and {tuple(b.shape)}"
    if a.dim() < 2 or b.dim() < 2:
        raise LaunchError(f"fused_gemm: expected matrices (..., m, k) and (k, n), found {found}")
    if a.shape[-1] != b.shape[-2]:
        raise LaunchError(
            f"fused_gemm: expected b of {a.shape[-1]} rows for a of shape {tuple(a.shape)}, "
            f"found {tuple(b.shape)}"
        )
    try:
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except RuntimeError:
        raise LaunchError(f"fused_gemm: expected batches that broadcast, found {found}") from None
    return (*batch, a.shape[-2], b.shape[-1])


@torch.library.custom_op("metalgen::fused_gemm", mutates_args=(), device_types=DEVICES)
def _fused_gemm(
    a: Tensor, b: Tensor, bias: Tensor | None, activation: int, residual: Tensor | None
) -> Tensor:
    result = _empty_result(a, b)
    if result.numel() > 0:
        given = (None if t is None else t.contiguous() for t in (bias, residual))
        own_bias, own_residual = given
        multiply(a, b, result, Following(own_bias, 1, own_residual, activation))
    return result


@_fused_gemm.register_fake
def _(
    a: Tensor, b: Tensor, bias: Tensor | None, activation: int, residual: Tensor | None
) -> Tensor:
    return _empty_result(a, b)


def _empty_result(a: Tensor, b: Tensor) -> Tensor:
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return a.new_empty((*batch, a.shape[-2], b.shape[-1]))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, b, bias, ctx.activation, residual = inputs
    ctx.save_for_backward(a, b, bias)
    ctx.has_residual = residual is not None


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Two products by the same kernels; what the activation was applied to is computed again."""
    a, b, bias = ctx.saved_tensors
    through = grad
    if ctx.activation:
        before = _fused_gemm(a, b, bias, 0, None).detach().requires_grad_()
        with torch.enable_grad():
            after = apply_formula(before, ctx.activation)
        (through,) = torch.autograd.grad(after, before, grad)
    wants_a, wants_b, wants_bias, _, _ = ctx.needs_input_grad
    return (
        _fused_gemm(through, b.mT, None, 0, None).sum_to_size(a.shape) if wants_a else None,
        _fused_gemm(a.mT, through, None, 0, None).sum_to_size(b.shape) if wants_b else None,
        through.sum_to_size(bias.shape) if wants_bias else None,
        None,
        grad if ctx.has_residual else None,
    )


_fused_gemm.register_autograd(_backward, setup_context=_setup_context)
