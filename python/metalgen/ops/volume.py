"""Convolution over lines and volumes: lines as planes of one line, volumes by their own kernels."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.activations import Activation, activation_number
from metalgen.ops.arguments import DEVICES, check_row_parameter, check_shape, check_tensors
from metalgen.ops.convolution import conv2d, formula, result_like, result_shape
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import kernel_for
from metalgen.ops.products import Following, multiply

_GROUP = 64  # threads


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x * weight + bias) + residual: x (n, c, l), weight (outputs, c / groups, kernel).

    As torch.nn.functional.conv1d with what follows it. Raises LaunchError.
    """
    if x.dim() != 3 or weight.dim() != 3:
        found = f"{tuple(x.shape)} and {tuple(weight.shape)}"
        raise LaunchError(f"conv1d: expected x (n, c, l) and weight of 3 dims, found {found}")
    added = None if residual is None else residual.unsqueeze(-2)
    planes = conv2d(
        x.unsqueeze(-2),
        weight.unsqueeze(-2),
        bias,
        (1, stride),
        (0, padding),
        (1, dilation),
        groups,
        activation,
        added,
    )
    return planes.squeeze(-2)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: Activation | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x * weight + bias) + residual: x (n, c, d, h, w), weight of 5 dimensions.

    As torch.nn.functional.conv3d with what follows it: a product over the windows, which are
    written to memory, or a direct sum for groups. Raises LaunchError.
    """
    check_tensors("conv3d", x=x, weight=weight, bias=bias, residual=residual)
    if x.dim() != 5 or weight.dim() != 5 or x.shape[1] != weight.shape[1] * groups:
        found = f"{tuple(x.shape)} and {tuple(weight.shape)} in {groups} groups"
        raise LaunchError(f"conv3d: expected x (n, c, d, h, w) and a weight for c, found {found}")
    if groups < 1 or weight.shape[0] % groups or min(weight.shape[1:]) < 1:
        found = f"{tuple(weight.shape)} in {groups} groups"
        raise LaunchError(
            f"conv3d: expected groups that divide a kernel of elements, found {found}"
        )
    steps = [
        *_triple("stride", stride, 1),
        *_triple("padding", padding, 0),
        *_triple("dilation", dilation, 1),
    ]
    shape = result_shape(x.shape, weight.shape, steps)
    if min(shape[2:]) < 1:
        raise LaunchError(f"conv3d: expected an input as large as the kernel, found {x.shape[2:]}")
    check_row_parameter("conv3d", "bias", bias, weight.shape[0])
    check_shape("conv3d", "residual", residual, shape)
    number = activation_number("conv3d", activation)
    result: Tensor = _conv3d(x, weight, bias, steps, groups, number, residual)
    return result


def _triple(name: str, given: int | Sequence[int], least: int) -> tuple[int, ...]:
    values = (given,) * 3 if isinstance(given, int) else tuple(given)
    if len(values) != 3 or min(values) < least:
        raise LaunchError(f"conv3d: expected three of {name}, {least} or more, found {given}")
    return values


@torch.library.custom_op("metalgen::conv3d", mutates_args=(), device_types=DEVICES)
def _conv3d(
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
    run = _run_product if groups == 1 else _run_direct
    run(x.contiguous(), weight.contiguous(), result, (steps, groups), following)
    return result


_Steps = tuple[list[int], int]


def _shape(x: Tensor, weight: Tensor, result: Tensor, given: _Steps, activation: int) -> bytes:
    """VolumeShape of metal/volume.metal."""
    steps, groups = given
    sizes = (groups, weight.shape[1], weight.shape[0] // groups, *x.shape[2:], *result.shape[2:])
    numbers = (*sizes, *weight.shape[2:], *steps, activation)
    return struct.pack("<15I3i3Ii", *numbers)


def _run_product(
    x: Tensor, weight: Tensor, result: Tensor, given: _Steps, following: Following
) -> None:
    images, outputs = result.shape[:2]
    taps, positions = weight[0].numel(), result[0, 0].numel()
    windows = x.new_empty((images, taps, positions))
    kernel_for("volume_patches", x)(
        x,
        windows,
        _shape(x, weight, result, given, 0),
        threads=(positions, taps, images),
        group_size=(_GROUP, 1, 1),
    )
    multiply(weight.view(outputs, taps), windows, result.flatten(2), following)


def _run_direct(
    x: Tensor, weight: Tensor, result: Tensor, given: _Steps, following: Following
) -> None:
    images, outputs, depth, height, width = result.shape
    kernel_for("volume_direct", x)(
        x,
        weight,
        following.bias,
        following.residual,
        result,
        _shape(x, weight, result, given, following.activation),
        threads=(width, depth * height, images * outputs),
        group_size=(min(width, 16), min(depth * height, 8), 1),
        constants=following.flags,
    )


_conv3d.register_fake(result_like)
differentiate(_conv3d, formula)
