"""Two-dimensional convolution: as a matrix product where it is one, implicitly, or directly."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.activations import Activation, activation_number, following_formula
from metalgen.ops.arguments import DEVICES, check_row_parameter, check_shape, check_tensors, pair
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import ceil_div, kernel_for, kernel_of
from metalgen.ops.products import Following, multiply, tiled_threads
from metalgen.ops.winners import choose

# A tile of a product needs some channels on both sides; below that a thread a result is better.
_FEWEST_CHANNELS = 4
_MOST_TAPS = 1 << 21  # as quotient() in metal/convolution.metal counts

Pair = int | Sequence[int]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x * weight + bias) + residual: x (n, c, h, w) or (c, h, w), weight
    (outputs, c / groups, kernel_h, kernel_w), bias (outputs,).

    As torch.nn.functional.conv2d (cross-correlation) with what follows it. Runs a matrix product
    for 1 x 1 kernels, an implicit one otherwise, a direct sum for depthwise and small groups.
    Raises LaunchError.
    """
    check_tensors("conv2d", x=x, weight=weight, bias=bias, residual=residual)
    if x.dim() == 3:
        added = None if residual is None else residual.unsqueeze(0)
        image = x.unsqueeze(0)
        return conv2d(
            image, weight, bias, stride, padding, dilation, groups, activation, added
        ).squeeze(0)
    _check_channels(x, weight, groups)
    steps = [
        *pair("conv2d", "stride", stride, 1),
        *pair("conv2d", "padding", padding, 0),
        *pair("conv2d", "dilation", dilation, 1),
    ]
    shape = result_shape(x.shape, weight.shape, steps)
    if min(shape[2:]) < 1:
        raise LaunchError(
            f"conv2d: expected an input as large as the kernel, found {tuple(x.shape[2:])} for "
            f"weight {tuple(weight.shape)}, padding {steps[2:4]}, dilation {steps[4:]}"
        )
    check_row_parameter("conv2d", "bias", bias, weight.shape[0])
    check_shape("conv2d", "residual", residual, shape)
    number = activation_number("conv2d", activation)
    result: Tensor = _conv2d(x, weight, bias, steps, groups, number, residual)
    return result


def _check_channels(x: Tensor, weight: Tensor, groups: int) -> None:
    if x.dim() != 4 or weight.dim() != 4:
        found = f"{tuple(x.shape)} and {tuple(weight.shape)}"
        raise LaunchError(f"conv2d: expected x (n, c, h, w) and weight of 4 dims, found {found}")
    if min(weight.shape[1:]) < 1:
        raise LaunchError(f"conv2d: expected a kernel of elements, found {tuple(weight.shape)}")
    if groups < 1 or weight.shape[0] % groups or x.shape[1] != weight.shape[1] * groups:
        raise LaunchError(
            f"conv2d: expected {weight.shape[1]} channels for each of {groups} groups and outputs "
            f"that they divide, found x {tuple(x.shape)} and weight {tuple(weight.shape)}"
        )
    if weight[0].numel() >= _MOST_TAPS:
        raise LaunchError(
            f"conv2d: expected fewer than {_MOST_TAPS} terms a result, found {weight[0].numel()}"
        )


def result_shape(x: Sequence[int], weight: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """A convolution's: `steps` has the strides of all axes, then their paddings and dilations."""
    axes = len(steps) // 3

    def along(axis: int) -> int:
        reach = steps[2 * axes + axis] * (weight[2 + axis] - 1)
        return (x[2 + axis] + 2 * steps[axes + axis] - reach - 1) // steps[axis] + 1

    return x[0], weight[0], *map(along, range(axes))


@torch.library.custom_op("metalgen::conv2d", mutates_args=(), device_types=DEVICES)
def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    steps: list[int],
    groups: int,
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    result = x.new_empty(result_shape(x.shape, weight.shape, steps))
    if result.numel() == 0:
        return result
    following = Following.of_rows(bias, residual, activation)
    outputs, channels = weight.shape[0] // groups, weight.shape[1]
    if list(weight.shape[2:]) == [1, 1] and steps[:4] == [1, 1, 0, 0] and groups == 1:
        left = weight.reshape(outputs, channels)
        multiply(left, x.flatten(2), result.flatten(2), following)
    elif min(outputs, channels) < _FEWEST_CHANNELS and groups > 1:
        _run_direct(x.contiguous(), weight.contiguous(), result, steps, groups, following)
    else:
        _run_tiles(x.contiguous(), weight.contiguous(), result, steps, groups, following)
    return result


def _shape(
    x: Tensor, weight: Tensor, result: Tensor, steps: Sequence[int], groups: int, activation: int
) -> bytes:
    sizes = (groups, weight.shape[1], weight.shape[0] // groups)
    planes = (*x.shape[2:], *result.shape[2:], *weight.shape[2:])
    return struct.pack("<11I2i2Ii", *sizes, *planes, *steps, activation)


def _run_tiles(
    x: Tensor,
    weight: Tensor,
    result: Tensor,
    steps: Sequence[int],
    groups: int,
    following: Following,
) -> None:
    outputs, positions = weight.shape[0] // groups, result[0, 0].numel()
    variant = choose("convolution", x, (outputs, positions, weight[0].numel()))
    kernel_of("convolution", variant, x)(
        x,
        weight,
        following.bias,
        following.residual,
        result,
        _shape(x, weight, result, steps, groups, following.activation),
        threadgroups=(
            ceil_div(positions, variant["columns"]),
            ceil_div(outputs, variant["rows"]),
            x.shape[0] * groups,
        ),
        group_size=(tiled_threads(variant), 1, 1),
        constants=following.flags,
    )


def _run_direct(
    x: Tensor,
    weight: Tensor,
    result: Tensor,
    steps: Sequence[int],
    groups: int,
    following: Following,
) -> None:
    images, outputs, height, width = result.shape
    variant = choose("convolution_direct", x, (width, height, weight[0].numel()))
    kernel_for("convolution_direct", x)(
        x,
        weight,
        following.bias,
        following.residual,
        result,
        _shape(x, weight, result, steps, groups, following.activation),
        threads=(width, height, images * outputs),
        group_size=(min(variant["across"], width), min(variant["down"], height), 1),
        constants=following.flags,
    )


def result_like(
    x: Tensor, weight: Tensor, bias: Tensor | None, steps: list[int], *rest: object
) -> Tensor:
    """What a convolution over planes or volumes writes, without values."""
    return x.new_empty(result_shape(x.shape, weight.shape, steps))


def formula(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    steps: list[int],
    groups: int,
    activation: int,
    residual: Tensor | None,
) -> Tensor:
    """PyTorch's, for convolutions over planes and volumes."""
    axes = len(steps) // 3
    convolve = {2: functional.conv2d, 3: functional.conv3d}[axes]
    stride, padding, dilation = (steps[i : i + axes] for i in range(0, 3 * axes, axes))
    y = convolve(x, weight, bias, stride, padding, dilation, groups)
    return following_formula(y, activation, residual)


_conv2d.register_fake(result_like)
differentiate(_conv2d, formula)
