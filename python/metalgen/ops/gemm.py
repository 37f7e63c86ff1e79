"""activation(a b + bias) in one kernel."""

from __future__ import annotations

import struct
from typing import Literal

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, check_row_parameter, check_tensors
from metalgen.ops.library import kernel_for

Activation = Literal["relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"]
# Their numbers in metal/activation.h, from 1 on; 0 is none.
ACTIVATIONS: tuple[str, ...] = ("relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid")
_TILE, _THREADS = 64, 128  # as in metal/gemm.metal


def fused_gemm(
    a: Tensor, b: Tensor, bias: Tensor | None = None, activation: Activation | None = None
) -> Tensor:
    """activation(a @ b + bias): (..., m, k) by (k, n) or (..., k, n) to (..., m, n), bias (n,).

    Transposed operands (`weight.T`) are read in place. gelu is the exact one, gelu_tanh its
    approximation.
    Raises LaunchError for shapes, dtypes or devices that do not fit and for unknown activations.
    """
    check_tensors("fused_gemm", a=a, b=b, bias=bias)
    _check_shapes(a, b)
    check_row_parameter("fused_gemm", "bias", bias, b.shape[-1])
    if activation is not None and activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise LaunchError(f"fused_gemm: expected an activation of {known}, found {activation!r}")
    number = 0 if activation is None else 1 + ACTIVATIONS.index(activation)
    result: Tensor = _fused_gemm(a, b, bias, number)
    return result


def _check_shapes(a: Tensor, b: Tensor) -> None:
    if a.dim() < 2 or b.dim() < 2:
        found = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise LaunchError(f"fused_gemm: expected matrices (..., m, k) and (k, n), found {found}")
    if a.shape[-1] != b.shape[-2]:
        raise LaunchError(
            f"fused_gemm: expected b of {a.shape[-1]} rows for a of shape {tuple(a.shape)}, "
            f"found {tuple(b.shape)}"
        )
    if b.dim() > 2 and a.shape[:-2] != b.shape[:-2]:
        raise LaunchError(
            f"fused_gemm: expected the same batch for a and b, found {tuple(a.shape)} "
            f"and {tuple(b.shape)}"
        )


@torch.library.custom_op("metalgen::fused_gemm", mutates_args=(), device_types=DEVICES)
def _fused_gemm(a: Tensor, b: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    result = a.new_empty((*a.shape[:-1], b.shape[-1]))
    if result.numel() == 0:
        return result
    shared = b.dim() == 2
    rows = a.reshape(-1, a.shape[-1]) if shared and a.dim() > 2 else a
    batch = 1 if shared else rows.shape[:-2].numel()
    m, k, n = rows.shape[-2], rows.shape[-1], b.shape[-1]
    (stored_a, a_transposed), (stored_b, b_transposed) = _stored(rows), _stored(b)
    strides = (0, 0) if shared else (m * k, k * n)
    shape = (m, n, k, stored_a.shape[-1], stored_b.shape[-1])
    constants: dict[str | int, int | float | bool] = {
        "a_transposed": a_transposed,
        "b_transposed": b_transposed,
        "has_bias": bias is not None,
        "activation": activation,
    }
    kernel_for("gemm", a)(
        stored_a,
        stored_b,
        None if bias is None else bias.contiguous(),
        result,
        struct.pack("<5I4x2Q", *shape, *strides),
        threadgroups=(-(-n // _TILE), -(-m // _TILE), batch),
        group_size=(_THREADS, 1, 1),
        constants=constants,
    )
    return result


def _stored(matrix: Tensor) -> tuple[Tensor, bool]:
    """The matrix as it lies in memory, and whether that is its transpose; copied if neither is
    whole.
    """
    if matrix.is_contiguous():
        return matrix, False
    if matrix.mT.is_contiguous():
        return matrix.mT, True
    return matrix.contiguous(), False


@_fused_gemm.register_fake
def _(a: Tensor, b: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    return a.new_empty((*a.shape[:-1], b.shape[-1]))
