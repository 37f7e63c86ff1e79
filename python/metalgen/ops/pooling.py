"""Two-dimensional pooling: maximum and mean, of windows at fixed steps or adapted to a size."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, check_tensors, pair
from metalgen.ops.gradients import differentiate
from metalgen.ops.library import kernel_for
from metalgen.ops.reduction import reduce_last

Pair = int | Sequence[int]


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window, NaN if one is: x (n, c, h, w) or (c, h, w).

    As torch.nn.functional.max_pool2d. Raises LaunchError.
    """
    windows = _windows("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    result: Tensor = _pool2d(x, True, windows, True)
    return result


def avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window, padding counted as zeros or not at all.

    As torch.nn.functional.avg_pool2d. Raises LaunchError.
    """
    windows = _windows("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    result: Tensor = _pool2d(x, False, windows, count_include_pad)
    return result


def adaptive_avg_pool2d(x: Tensor, output_size: Pair) -> Tensor:
    """Means of windows that share a plane evenly, as torch.nn.functional.adaptive_avg_pool2d.

    Raises LaunchError.
    """
    size = _output_size("adaptive_avg_pool2d", x, output_size)
    result: Tensor = _adaptive_pool2d(x, False, size)
    return result


def adaptive_max_pool2d(x: Tensor, output_size: Pair) -> Tensor:
    """Largest elements of windows that share a plane evenly, as torch's adaptive_max_pool2d.

    Raises LaunchError.
    """
    size = _output_size("adaptive_max_pool2d", x, output_size)
    result: Tensor = _adaptive_pool2d(x, True, size)
    return result


def _check_planes(operation: str, x: Tensor) -> None:
    check_tensors(operation, x=x)
    if x.dim() not in (3, 4):
        raise LaunchError(
            f"{operation}: expected x (n, c, h, w) or (c, h, w), found {tuple(x.shape)}"
        )
    if 0 in x.shape[-3:]:
        raise LaunchError(f"{operation}: expected planes with elements, found {tuple(x.shape)}")


def _output_size(operation: str, x: Tensor, size: Pair) -> list[int]:
    _check_planes(operation, x)
    return list(pair(operation, "output_size", size, 0))


def _windows(
    operation: str,
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> list[int]:
    """Result size, kernel, stride, padding and dilation, vertical before horizontal."""
    _check_planes(operation, x)
    kernel = pair(operation, "kernel_size", kernel_size, 1)
    step = kernel if stride is None else pair(operation, "stride", stride, 1)
    border = pair(operation, "padding", padding, 0)
    apart = pair(operation, "dilation", dilation, 1)
    sizes = []
    for axis in range(2):
        if border[axis] * 2 > kernel[axis]:
            raise LaunchError(
                f"{operation}: expected padding up to half of the kernel {kernel}, found {border}"
            )
        length, reach = x.shape[axis - 2], apart[axis] * (kernel[axis] - 1) + 1
        room = length + 2 * border[axis] - reach
        size = (-(-room // step[axis]) if ceil_mode else room // step[axis]) + 1
        if ceil_mode and (size - 1) * step[axis] >= length + border[axis]:
            size -= 1  # a window that would begin in the padding behind the plane
        if room < 0 or size < 1:
            raise LaunchError(
                f"{operation}: expected planes as large as the kernel {kernel}, "
                f"found {tuple(x.shape)} with padding {border}"
            )
        sizes.append(size)
    return [*sizes, *kernel, *step, *border, *apart]


@torch.library.custom_op("metalgen::pool2d", mutates_args=(), device_types=DEVICES)
def _pool2d(x: Tensor, is_max: bool, windows: list[int], counts_padding: bool) -> Tensor:
    result = x.new_empty((*x.shape[:-2], *windows[:2]))
    _run(x, result, is_max, False, windows[2:], counts_padding)
    return result


@torch.library.custom_op("metalgen::adaptive_pool2d", mutates_args=(), device_types=DEVICES)
def _adaptive_pool2d(x: Tensor, is_max: bool, size: list[int]) -> Tensor:
    result = x.new_empty((*x.shape[:-2], *size))
    if size == [1, 1]:
        reduce_last(x.contiguous().flatten(-2), result, "max" if is_max else "mean")
    else:
        _run(x, result, is_max, True, [1, 1, 1, 1, 0, 0, 1, 1], False)
    return result


def _run(
    x: Tensor,
    result: Tensor,
    is_max: bool,
    is_adaptive: bool,
    windows: Sequence[int],
    counts_padding: bool,
) -> None:
    if result.numel() == 0:
        return
    height, width = result.shape[-2:]
    kernel_for("pool", x)(
        x.contiguous(),
        result,
        struct.pack("<8I2i3I", *x.shape[-2:], height, width, *windows, int(counts_padding)),
        threads=(width, height, result.numel() // (height * width)),
        group_size=(min(width, 32), min(height, 8), 1),
        constants={"is_max": is_max, "is_adaptive": is_adaptive},
    )


@_pool2d.register_fake
def _(x: Tensor, is_max: bool, windows: list[int], counts_padding: bool) -> Tensor:
    return x.new_empty((*x.shape[:-2], *windows[:2]))


@_adaptive_pool2d.register_fake
def _(x: Tensor, is_max: bool, size: list[int]) -> Tensor:
    return x.new_empty((*x.shape[:-2], *size))


def _pool_formula(x: Tensor, is_max: bool, windows: list[int], counts_padding: bool) -> Tensor:
    kernel, step, border, apart = (windows[i : i + 2] for i in (2, 4, 6, 8))
    rounds_up = any(
        (x.shape[axis - 2] + 2 * border[axis] - apart[axis] * (kernel[axis] - 1) - 1) // step[axis]
        + 1
        != windows[axis]
        for axis in range(2)
    )
    if is_max:
        return functional.max_pool2d(x, kernel, step, border, apart, rounds_up)
    return functional.avg_pool2d(x, kernel, step, border, rounds_up, counts_padding)


def _adaptive_formula(x: Tensor, is_max: bool, size: list[int]) -> Tensor:
    pool = functional.adaptive_max_pool2d if is_max else functional.adaptive_avg_pool2d
    result: Tensor = pool(x, (size[0], size[1]))
    return result


differentiate(_pool2d, _pool_formula)
differentiate(_adaptive_pool2d, _adaptive_formula)
