"""Linear layers with weights of 8 or 4 bits, quantised in groups."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.activations import Activation, activation_number, following_formula
from metalgen.ops.arguments import (
    DEVICES,
    check_dtype,
    check_row_parameter,
    check_same_device,
    check_shape,
    check_tensors,
)
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import SIMDGROUP, ceil_div, kernel_of
from metalgen.ops.products import tiled_threads
from metalgen.ops.winners import choose

# Up to here a SIMD-group for a few results of each row is better than tiles, mostly empty.
_FEW_ROWS = 4
_LEAST_GROUP = 8


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """A weight (n, k) as w = scale · q + offset, q unsigned, with a scale and offset for every
    `group_size` neighbours of a row.

    packed is uint8 (n, k · bits / 8): with 4 bits, element 2i lies in the low half of byte i and
    2i + 1 in the high half. scales and offsets are (n, k / group_size).
    """

    packed: Tensor
    scales: Tensor
    offsets: Tensor
    bits: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k) of the weight."""
        return self.packed.shape[0], self.packed.shape[1] * 8 // self.bits

    @property
    def group_size(self) -> int:
        """Neighbours that share a scale."""
        return self.shape[1] // max(self.scales.shape[1], 1)

    def to(self, device: torch.device | str) -> QuantizedWeight:
        """The weight on another device."""
        packed, scales, offsets = (t.to(device) for t in (self.packed, self.scales, self.offsets))
        return QuantizedWeight(packed, scales, offsets, self.bits)

    def dequantize(self) -> Tensor:
        """The weight (n, k) as the kernels see it, in the scales' dtype."""
        return _dequantize(self.packed, self.scales, self.offsets, self.bits)


def quantize(weight: Tensor, bits: Literal[4, 8] = 4, group_size: int = 64) -> QuantizedWeight:
    """`weight` (n, k) in `bits` bits: the least of each group becomes 0, the largest 2^bits - 1.

    `group_size` is a multiple of 8 that divides k. Raises LaunchError.
    """
    check_tensors("quantize", weight=weight)
    if weight.dim() != 2 or bits not in (4, 8):
        raise LaunchError(
            f"quantize: expected weight (n, k) and 4 or 8 bits, found {tuple(weight.shape)} "
            f"and {bits}"
        )
    rows, columns = weight.shape
    if group_size < 1 or group_size % _LEAST_GROUP or columns % group_size:
        raise LaunchError(
            f"quantize: expected a group_size that is a multiple of {_LEAST_GROUP} and divides "
            f"{columns}, found {group_size}"
        )
    if rows * columns == 0:
        raise LaunchError(f"quantize: expected a weight with elements, found {tuple(weight.shape)}")
    groups = weight.float().reshape(rows, -1, group_size)
    least, most = torch.aminmax(groups, dim=-1)
    # Rounded to the weight's dtype first: q must fit the scale that is kept.
    scales = ((most - least) / (2**bits - 1)).to(weight.dtype)
    offsets = least.to(weight.dtype)
    steps = torch.where(scales == 0, 1, scales.float())
    q = ((groups - offsets.float().unsqueeze(-1)) / steps.unsqueeze(-1)).round()
    q = q.clamp(0, 2**bits - 1).to(torch.uint8).view(rows, columns)
    packed = q if bits == 8 else q[:, ::2] | q[:, 1::2] << 4
    return QuantizedWeight(packed.contiguous(), scales, offsets, bits)


def quantized_linear(
    x: Tensor,
    weight: QuantizedWeight,
    bias: Tensor | None = None,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x @ wᵀ + bias) + residual: (..., k) by a quantised (n, k) to (..., n).

    Weights are widened on their way through the kernel, never in memory. Raises LaunchError.
    """
    name = "quantized_linear"
    given = {"scales": weight.scales, "offsets": weight.offsets}
    check_tensors(name, x=x, **given, bias=bias, residual=residual)
    n, k = weight.shape
    _check_weight(x, weight, k)
    if x.dim() == 0 or x.shape[-1] != k:
        raise LaunchError(f"{name}: expected x (..., {k}), found {tuple(x.shape)}")
    check_row_parameter(name, "bias", bias, n)
    check_shape(name, "residual", residual, (*x.shape[:-1], n))
    number = activation_number(name, activation)
    parts = (weight.packed, weight.scales, weight.offsets, weight.bits)
    result: Tensor = _quantized_linear(x, *parts, bias, number, residual)
    return result


def _check_weight(x: Tensor, weight: QuantizedWeight, k: int) -> None:
    name, (n, groups) = "quantized_linear", weight.scales.shape
    check_dtype(name, "packed", weight.packed, (torch.uint8,))
    check_same_device(name, "packed", weight.packed, x)
    check_shape(name, "offsets", weight.offsets, weight.scales.shape)
    is_whole = groups > 0 and k % groups == 0 and k // groups % _LEAST_GROUP == 0
    if weight.bits not in (4, 8) or n != weight.packed.shape[0] or not is_whole:
        raise LaunchError(
            f"{name}: expected packed (n, k · bits / 8) and scales (n, k / group), found "
            f"{tuple(weight.packed.shape)} of {weight.bits} bits and {tuple(weight.scales.shape)}"
        )


@torch.library.custom_op("metalgen::quantized_linear", mutates_args=(), device_types=DEVICES)
def _quantized_linear(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    offsets: Tensor,
    bits: int,
    bias: Tensor | None,
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    n, k = packed.shape[0], x.shape[-1]
    result = x.new_empty((*x.shape[:-1], n))
    if result.numel() == 0:
        return result
    m = result.numel() // n
    is_vector = m <= _FEW_ROWS
    name = "quantized_gemv" if is_vector else "quantized_gemm"
    variant = choose(name, x, (n, k) if is_vector else (m, n, k))
    if is_vector:
        groups = (ceil_div(n, variant["outputs"] * variant["simdgroups"]), m)
        threads = SIMDGROUP * variant["simdgroups"]
    else:
        groups = (ceil_div(n, variant["columns"]), ceil_div(m, variant["rows"]))
        threads = tiled_threads(variant)
    own = (None if t is None else t.contiguous() for t in (bias, residual))
    kernel_of(name, variant, x, bits=str(bits))(
        *(t.contiguous() for t in (x, packed, scales, offsets)),
        *own,
        result,
        struct.pack("<4Ii", m, n, k, k // scales.shape[1], activation),
        threadgroups=groups,
        group_size=(threads, 1),
        constants={"has_bias": bias is not None, "has_residual": residual is not None},
    )
    return result


@_quantized_linear.register_fake
def _(x: Tensor, packed: Tensor, *rest: object) -> Tensor:
    return x.new_empty((*x.shape[:-1], packed.shape[0]))


def _dequantize(packed: Tensor, scales: Tensor, offsets: Tensor, bits: int) -> Tensor:
    q = packed if bits == 8 else torch.stack((packed & 15, packed >> 4), -1).flatten(1)
    groups = q.view(*scales.shape, -1).to(scales.dtype)
    return (groups * scales.unsqueeze(-1) + offsets.unsqueeze(-1)).view(q.shape)


def _formula(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    offsets: Tensor,
    bits: int,
    bias: Tensor | None,
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    y = functional.linear(x, _dequantize(packed, scales, offsets, bits), bias)
    return following_formula(y, activation, residual)


differentiate(_quantized_linear, _formula)
