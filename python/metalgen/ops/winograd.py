"""Convolution with 3 x 3 kernels by Winograd's minimal filtering, the product in float32."""

from __future__ import annotations

import struct

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.activations import Activation, activation_number, following_formula
from metalgen.ops.arguments import DEVICES, check_row_parameter, check_shape, check_tensors, pair
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import ceil_div, kernel_of
from metalgen.ops.products import Following, multiply
from metalgen.ops.winners import choose

_GROUP = 64  # threads


def winograd_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: int | tuple[int, int] = 0,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x * weight + bias) + residual: x (n, c, h, w), weight (outputs, c, 3, 3).

    As `conv2d` of stride, dilation and groups 1, with 2.25 times fewer multiplications in tiles of
    2 x 2 results and 4 times fewer in those of 4 x 4, which round more (Lavin and Gray, 2015).
    What is infinite or NaN in x spreads over its tile. Raises LaunchError.
    """
    check_tensors("winograd_conv2d", x=x, weight=weight, bias=bias, residual=residual)
    if x.dim() != 4 or weight.dim() != 4 or tuple(weight.shape[1:]) != (x.shape[1], 3, 3):
        found = f"{tuple(x.shape)} and {tuple(weight.shape)}"
        raise LaunchError(
            f"winograd_conv2d: expected x (n, c, h, w), weight (outputs, c, 3, 3), found {found}"
        )
    pads = list(pair("winograd_conv2d", "padding", padding, 0))
    shape = _result_shape(x, weight, pads)
    if min(shape[2:]) < 1:
        raise LaunchError(f"winograd_conv2d: expected 3 x 3 elements, found {tuple(x.shape[2:])}")
    check_row_parameter("winograd_conv2d", "bias", bias, weight.shape[0])
    check_shape("winograd_conv2d", "residual", residual, shape)
    number = activation_number("winograd_conv2d", activation)
    result: Tensor = _winograd(x, weight, bias, pads, number, residual)
    return result


def _result_shape(x: Tensor, weight: Tensor, pads: list[int]) -> tuple[int, int, int, int]:
    height, width = (x.shape[2 + axis] + 2 * pads[axis] - 2 for axis in (0, 1))
    return x.shape[0], weight.shape[0], height, width


@torch.library.custom_op("metalgen::winograd_conv2d", mutates_args=(), device_types=DEVICES)
def _winograd(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pads: list[int],
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    result = x.new_empty(_result_shape(x, weight, pads))
    if result.numel() > 0:
        following = Following.of_rows(bias, residual, activation)
        _run(x.contiguous(), weight.contiguous(), result, pads, following)
    return result


def _run(x: Tensor, weight: Tensor, result: Tensor, pads: list[int], following: Following) -> None:
    (images, outputs, out_height, out_width), channels = result.shape, x.shape[1]
    tiles = images * ceil_div(out_height, 2) * ceil_div(out_width, 2)
    variant = choose("winograd", x, (outputs, tiles, channels))
    tile, points = variant["tile"], (variant["tile"] + 2) ** 2
    down, across = ceil_div(out_height, tile), ceil_div(out_width, tile)
    tiles = images * down * across
    sizes = (channels, outputs, *x.shape[2:], out_height, out_width, down, across, tiles)
    shape = struct.pack("<9I3i", *sizes, *pads, following.activation)
    kernels = x.new_empty((points, outputs, channels), dtype=torch.float32)
    taken = x.new_empty((points, channels, tiles), dtype=torch.float32)
    products = x.new_empty((points, outputs, tiles), dtype=torch.float32)
    kernel_of("winograd", variant, x, stage="weights")(
        weight, kernels, shape, threads=outputs * channels, group_size=_GROUP
    )
    kernel_of("winograd", variant, x, stage="input")(
        x, taken, shape, threads=(tiles, channels), group_size=(_GROUP, 1)
    )
    multiply(kernels, taken, products, Following())
    kernel_of("winograd", variant, x, stage="output")(
        products,
        following.bias,
        following.residual,
        result,
        shape,
        threads=(tiles, outputs),
        group_size=(_GROUP, 1),
        constants=following.flags,
    )


@_winograd.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, pads: list[int], *rest: object) -> Tensor:
    return x.new_empty(_result_shape(x, weight, pads))


def _formula(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pads: list[int],
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    y = functional.conv2d(x, weight, bias, padding=pads)
    return following_formula(y, activation, residual)


differentiate(_winograd, _formula)
