"""Apple's convolutions: implicit gemm, Winograd, depthwise, unfolding; ours beside them."""

from __future__ import annotations

import math
import struct

import pytest
import torch
from apple_cases import (
    FLOATS,
    METAL,
    Case,
    Family,
    Launch,
    apple,
    assert_close,
    kernels,
    listed,
    named,
    run,
)
from torch import Tensor

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-1}
Sizes = tuple[int, ...]


def some(dtype: torch.dtype, *shape: int) -> Tensor:
    return (torch.randn(shape) / math.prod(shape[1:]) ** 0.25).to(dtype)


def convolved(
    x: Tensor, weight: Tensor, stride: int, padding: int, spread: int = 1, groups: int = 1
) -> Tensor:
    """Channels last, in float; `spread` puts zeros between the pixels of x."""
    ndim = x.ndim - 2
    first = (0, ndim + 1, *range(1, ndim + 1))
    last = (0, *range(2, ndim + 2), 1)
    pixels = x.float().permute(first)
    if spread > 1:
        wide = [(size - 1) * spread + 1 for size in pixels.shape[2:]]
        zeros = torch.zeros(*pixels.shape[:2], *wide)
        zeros[(..., *[slice(None, None, spread)] * ndim)] = pixels
        pixels = zeros
    function = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[ndim]
    kernel = weight.float().permute(first)
    result = function(pixels, kernel, stride=stride, padding=padding, groups=groups)
    return result.permute(last).contiguous()


def parameters(
    x: Tensor,
    weight: Tensor,
    out: Tensor,
    stride: int,
    padding: int,
    spread: int = 1,
    groups: int = 1,
) -> bytes:
    """MLX's MLXConvParams."""
    ndim = x.ndim - 2
    numbers = [x.shape[0], x.shape[-1], weight.shape[0]]
    for tensor in (x, weight, out):
        numbers += tensor.shape[1:-1]
    for value in (stride, padding, 1, spread):
        numbers += [value] * ndim
    packed = struct.pack(f"={len(numbers)}i", *numbers)
    packed += b"\0" * (-len(packed) % 8)
    strides = [*x.stride(), *weight.stride(), *out.stride()]
    return packed + struct.pack(f"={len(strides)}qi?3x", *strides, groups, False)


def implicit_gemm(
    dtype: torch.dtype, pixels: Sizes, filters: Sizes, channels: int, *, few: bool = False
) -> Launch:
    """Tiles of 32 pixels by 8 outputs, 16 products at a time."""
    outputs, stride, padding = 12, 1, 1
    x = some(dtype, 2, *pixels, channels)
    weight = some(dtype, outputs, *filters, channels)
    out = convolved(x, weight, stride, padding)
    m = out[..., 0].numel()
    steps = list(x.stride()[1:-1])
    jumps, behind = [], 0
    for step, size in zip(reversed(steps), reversed(filters), strict=True):
        jumps.append(step - behind)
        behind += (size - 1) * step
    k = math.prod(filters) * channels
    # Few channels are taken together with those of the next pixels, three as if they were four.
    together = math.prod(filters) * (4 if channels == 3 else channels)
    rounds = -(-together // 16) if few else math.prod(filters) * -(-channels // 16)
    tiles = -(-outputs // 8), -(-m // 32)
    numbers = [m, outputs, k, rounds, *jumps, 16 - behind, *tiles, 0]
    return Launch(
        {
            0: x,
            1: weight,
            3: parameters(x, weight, out, stride, padding),
            4: struct.pack(f"={len(numbers)}i", *numbers),
        },
        {2: out.to(dtype)},
        groups=(*tiles, 1),
        group_size=(32, 1, 4),
        tolerance=TOLERANCE[dtype],
    )


def general(dtype: torch.dtype, spread: int) -> Launch:
    """Input pixels with zeros between them: what a transposed convolution needs."""
    outputs, channels, size, padding = 12, 20, 3, 1
    x = some(dtype, 2, 5, 6, channels)
    weight = some(dtype, outputs, size, size, channels)
    out = convolved(x, weight, 1, padding, spread)
    jump = spread  # of outputs that meet the same pixels, and of the filter's entries that do
    rows, columns = (-(-n // jump) for n in out.shape[1:3])
    bases = []
    for i in range(jump):
        base = next(w for w in range(size) if (i - padding + w) % spread == 0)
        bases += [base, -(-(size - base) // jump)]
    m = out[..., 0].numel()
    tiles = -(-outputs // 8), -(-2 * rows * columns // 32)
    gemm = [m, outputs, size * size * channels, -(-channels // 16), 0, 0, 0, *tiles, 0]
    jumps = [jump, jump, jump, jump, rows, columns, rows * columns, 2 * rows * columns]
    return Launch(
        {
            0: x,
            1: weight,
            3: parameters(x, weight, out, 1, padding, spread),
            4: struct.pack("=10i", *gemm),
            5: struct.pack("=8i", *jumps),
            6: listed(bases, torch.int32),
            7: listed(bases, torch.int32),
        },
        {2: out.to(dtype)},
        groups=(*tiles, jump * jump),
        group_size=(32, 1, 4),
        constants={"align_C": False},
        tolerance=TOLERANCE[dtype],
    )


TILE, NUMBERS = "bm32_bn8_bk16_wm4_wn1", "32, 8, 16, 4, 1"


def flat_cases() -> dict[str, Case]:
    cases = {}
    for dtype in FLOATS:
        start = f"implicit_gemm_conv_2d_{named(dtype)}_{TILE}"
        template = f"implicit_gemm_conv_2d<{METAL[dtype]}, {NUMBERS}"
        for filters, letter, small in (((3, 3), "s", "true"), ((3, 17), "l", "false")):
            cases[f"{start}_channel_l_filter_{letter}"] = Case(
                f"{template}, 0, {small}>",
                lambda d=dtype, f=filters: implicit_gemm(d, (7, 18), f, 32),
            )
        for channels in (1, 2, 3, 4):
            cases[f"{start}_channel_{channels}_filter_l"] = Case(
                f"{template}, {channels}, false>",
                lambda d=dtype, c=channels: implicit_gemm(d, (7, 9), (3, 3), c, few=True),
            )
    return cases


def deep_cases() -> dict[str, Case]:
    return {
        f"implicit_gemm_conv_3d_{named(dtype)}_{TILE}_filter_{letter}": Case(
            f"implicit_gemm_conv_3d<{METAL[dtype]}, {NUMBERS}, {small}>",
            lambda d=dtype: implicit_gemm(d, (4, 5, 6), (3, 2, 3), 16),
        )
        for dtype in FLOATS
        for letter, small in (("s", "true"), ("l", "false"))
    }


def general_cases() -> dict[str, Case]:
    return {
        f"implicit_gemm_conv_2d_general_{named(dtype)}_{TILE}": Case(
            f"implicit_gemm_conv_2d_general<{METAL[dtype]}, {NUMBERS}>",
            lambda d=dtype: general(d, 2),
        )
        for dtype in FLOATS
    }


HEADERS = ["utils.h", "steel/gemm/mma.h", "steel/conv/conv.h", "steel/conv/params.h"]
KERNELS = "steel/conv/kernels/steel_conv"
FAMILIES = {
    "flat": Family([*HEADERS, "steel/utils.h", f"{KERNELS}.h"], flat_cases()),
    "deep": Family([*HEADERS, "steel/utils.h", f"{KERNELS}_3d.h"], deep_cases(), one_in=3),
    "general": Family([*HEADERS, "steel/utils.h", f"{KERNELS}_general.h"], general_cases()),
}


@kernels(FAMILIES)
def test_apples_kernel_convolves_as_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)


# Kernels whose source the wheel does not hold.


@pytest.mark.parametrize("dtype", FLOATS)
def test_depthwise_convolutions_in_two_dimensions(dtype):
    x, weight = some(dtype, 2, 10, 18, 16), some(dtype, 16, 3, 3, 1)
    out = convolved(x, weight, 1, 1, groups=16)[:, :8, :16].contiguous()
    info = parameters(x, weight, out, 1, 1, groups=16)
    launch = Launch(
        {0: x, 1: weight, 3: info},
        {2: out.to(dtype)},
        groups=(2, 2, 2 * 2),  # of 8 channels, 8 columns and 4 rows
        group_size=(8, 8, 4),
        constants={
            **dict.fromkeys(("ker_h", "ker_w"), 3),
            **dict.fromkeys(("str_h", "str_w"), 1),
            "tgp_h": 6,
            "tgp_w": 10,
            "do_flip": False,
        },
        tolerance=TOLERANCE[dtype],
    )
    result = run(apple(), f"depthwise_conv_2d_{named(dtype)}", launch)[2]
    assert_close(result, launch.expected[2], launch.tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_depthwise_convolutions_in_one_dimension(dtype):
    x, weight = some(dtype, 2, 20, 12), some(dtype, 12, 4, 1)
    out = convolved(x, weight, 1, 0, groups=12).to(dtype)
    launch = Launch(
        {0: x, 1: weight, 3: listed(x.stride(), torch.int32), 4: 4},
        {2: out},
        threads=(12, 17, 2),
        group_size=(12, 4, 1),
        tolerance=TOLERANCE[dtype],
    )
    result = run(apple(), f"depthwise_conv_1d_{named(dtype)}", launch)[2]
    assert_close(result, out, launch.tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_winograds_convolution(dtype):
    """Three kernels and 64 products between them: 6 by 6 outputs from 8 by 8 inputs."""
    channels, outputs = 32, 32
    x, weight = some(dtype, 2, 14, 8, channels), some(dtype, outputs, 3, 3, channels)
    out = convolved(x, weight, 1, 0)
    tiles = 2 * 2 * 1
    info = parameters(x, weight, out, 1, 0)
    shape = (64, channels, outputs)
    type_ = named(dtype)
    given = {0: weight, 2: channels, 3: outputs}
    launch = Launch(
        given, {1: torch.empty(shape, dtype=dtype)}, (32, 4, 1), groups=(outputs // 4, 1, 1)
    )
    filters = run(apple(), f"winograd_conv_2d_weight_transform_{type_}_bc32", launch)[1]
    grid = {"groups": (1, 2, 2), "group_size": (32, 2, 2)}
    launch = Launch({0: x, 2: info}, {1: torch.empty(64, tiles, channels, dtype=dtype)}, **grid)
    pixels = run(apple(), f"winograd_conv_2d_input_transform_{type_}_bc32", launch)[1]
    products = (pixels.float() @ filters.float()).to(dtype)
    launch = Launch({0: products, 2: info}, {1: out.to(dtype)}, **grid)
    result = run(apple(), f"winograd_conv_2d_output_transform_{type_}_bo32", launch)[1]
    # Its transforms multiply by up to 32 and back: what is left of 8 bits is little.
    assert_close(result, out.to(dtype), {torch.bfloat16: 0.6, torch.float16: 0.1}.get(dtype, 1e-3))


@pytest.mark.parametrize("dtype", FLOATS)
def test_pixels_unfolded_for_a_product(dtype):
    x, weight = some(dtype, 2, 6, 7, 5), some(dtype, 4, 3, 3, 5)
    out = convolved(x, weight, 1, 1)
    rows = out[..., 0].numel()
    columns = torch.nn.functional.unfold(x.float().permute(0, 3, 1, 2), 3, padding=1)
    expected = columns.reshape(2, 5, 9, -1).permute(0, 3, 2, 1).reshape(rows, 9 * 5)
    launch = Launch(
        {0: x, 2: parameters(x, weight, out, 1, 1), 3: 0},
        {1: expected.to(dtype)},
        threads=(5, 9, rows),
        group_size=(5, 3, 2),
    )
    result = run(apple(), f"naive_unfold_nd_{named(dtype)}_2", launch)[1]
    assert_close(result, launch.expected[1], 0)
