"""PyTorch's own Metal kernels that resize and sample images and volumes, beside PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from apple_torch_cases import (
    FLOATS,
    METAL,
    close,
    filled,
    launch,
    permuted,
    sampled,
    unwritten,
    values,
)
from torch import Tensor

functional = torch.nn.functional
# From and to: larger, smaller, one row, and one column out of several.
LINES = [((2, 3, 7), (12,)), ((1, 2, 9), (4,)), ((2, 1, 1), (5,)), ((1, 3, 6), (1,))]
PLANES = [((2, 3, 5, 7), (9, 12)), ((1, 2, 9, 8), (4, 3)), ((2, 1, 6, 4), (6, 1))]
VOLUMES = [
    ((2, 3, 3, 4, 5), (5, 7, 6)),
    ((1, 2, 6, 5, 8), (3, 2, 5)),
    ((1, 1, 2, 4, 6), (1, 9, 3)),
]


def scales(x: Sequence[int], y: Sequence[int], aligned: bool) -> list[float]:
    """What a step of the output is in the input, the fastest dimension first."""
    pairs = reversed(list(zip(x[2:], y[2:], strict=True)))
    return [(a - 1) / max(b - 1, 1) * (b > 1) if aligned else a / b for a, b in pairs]


def resized(x: Tensor, sizes: Sequence[int], mode: str, aligned: bool) -> Tensor:
    """PyTorch's own answer in float32."""
    flag = {} if mode.startswith("nearest") else {"align_corners": aligned}
    smooth = {"antialias": True} if mode.endswith("_aa") else {}
    plain = mode.removesuffix("_aa")
    return functional.interpolate(x.float(), tuple(sizes), mode=plain, **flag, **smooth)


def gradient(grad: Tensor, shape: Sequence[int], mode: str, aligned: bool) -> Tensor:
    x = torch.zeros(tuple(shape), requires_grad=True)
    (found,) = torch.autograd.grad(resized(x, grad.shape[2:], mode, aligned), x, grad.float())
    return found


def flat(name: str, first: Tensor, second: Tensor, x: Tensor, y: Tensor, aligned: bool) -> None:
    """A kernel over lines or planes: x is what is resized, y the result, in either order."""
    dims = x.dim()
    steps = [filled(t.stride(), dims) for t in (x, y)]
    sizes = [list(t.shape) for t in (x, y)]
    factor = filled(scales(x.shape, y.shape, aligned), 2)
    launch(name, first, second, *steps, *sizes, factor, aligned, threads=y[0, 0].numel())


def deep(name: str, first: Tensor, second: Tensor, x: Tensor, y: Tensor, aligned: bool) -> None:
    """The same for a kernel over volumes."""
    params = {
        "input_strides": x.stride(),
        "input_sizes": x.shape,
        "output_strides": y.stride(),
        "output_sizes": y.shape,
        "scales": scales(x.shape, y.shape, aligned),
        "align_corners": aligned,
    }
    launch(name, first, second, params, threads=y[0, 0].numel())


ALIGNED = (False, True)


@sampled("dtype sizes aligned", itertools.product(FLOATS, LINES, ALIGNED), 5)
def test_lines_are_resized(dtype, sizes, aligned):
    shape, to = sizes
    x = permuted(values(dtype, *shape))
    out = unwritten(dtype, *shape[:2], *to)
    flat(f"upsample_linear1d_{METAL[dtype]}", x, out, x, out, aligned)
    close(out, resized(x, to, "linear", aligned), 2)


@sampled("mode dtype sizes", itertools.product(("bilinear", "bicubic"), FLOATS, PLANES), 4)
def test_planes_are_resized_without_aliases(mode, dtype, sizes):
    shape, to = sizes
    x = permuted(values(dtype, *shape))
    out = unwritten(dtype, *shape[:2], *to)
    flat(f"upsample_{mode}2d_aa_{METAL[dtype]}", x, out, x, out, False)
    close(out, resized(x, to, f"{mode}_aa", False), 2)


@sampled("sizes aligned", itertools.product(PLANES, ALIGNED), 3)
def test_planes_of_bytes_are_resized(sizes, aligned):
    shape, to = sizes
    x = torch.randint(0, 256, shape).to(torch.uint8)
    out = unwritten(torch.uint8, *shape[:2], *to)
    flat("upsample_bilinear2d_uchar", x, out, x, out, aligned)
    difference = out.float() - resized(x, to, "bilinear", aligned)
    assert difference.abs().max() <= 1  # rounded to bytes in each direction


@sampled("dtype sizes aligned", itertools.product(FLOATS, PLANES, ALIGNED), 5)
def test_gradients_of_planes_resized_by_cubics(dtype, sizes, aligned):
    shape, to = sizes
    grad = permuted(values(dtype, *shape[:2], *to))
    out = torch.zeros(shape, dtype=dtype)
    flat(f"upsample_bicubic2d_backward_{METAL[dtype]}", out, grad, out, grad, aligned)
    close(out, gradient(grad, shape, "bicubic", aligned), 8)


MODES = {
    "nearest_3d": "nearest",
    "nearest_exact_3d": "nearest-exact",
    "trilinear": "trilinear",
}
VOLUME_CASES = [
    (kernel, dtype, sizes, aligned)
    for kernel, sizes in itertools.product(MODES, VOLUMES)
    for aligned in (ALIGNED if kernel == "trilinear" else (False,))
    for dtype in FLOATS
]


@sampled("kernel dtype sizes aligned", VOLUME_CASES, 4)
def test_volumes_are_resized(kernel, dtype, sizes, aligned):
    shape, to = sizes
    x = permuted(values(dtype, *shape))
    out = unwritten(dtype, *shape[:2], *to)
    deep(f"upsample_{kernel}_{METAL[dtype]}", x, out, x, out, aligned)
    close(out, resized(x, to, MODES[kernel], aligned), 2)


@sampled("kernel dtype sizes aligned", VOLUME_CASES, 4)
def test_gradients_of_volumes_resized(kernel, dtype, sizes, aligned):
    shape, to = sizes
    grad = permuted(values(dtype, *shape[:2], *to))
    out = torch.zeros(shape, dtype=dtype)
    deep(f"upsample_{kernel}_backward_{METAL[dtype]}", out, grad, out, grad, aligned)
    close(out, gradient(grad, shape, MODES[kernel], aligned), 8)


@sampled("kernel sizes", itertools.product(MODES, VOLUMES), 4)
def test_volumes_of_bytes_are_resized(kernel, sizes):
    shape, to = sizes
    x = torch.randint(0, 256, shape).to(torch.uint8)
    out = unwritten(torch.uint8, *shape[:2], *to)
    deep(f"upsample_{kernel}_uchar", x, out, x, out, False)
    difference = out.float() - resized(x, to, MODES[kernel], False)
    assert difference.abs().max() <= (1.5 if kernel == "trilinear" else 0)


PADDING = ("zeros", "border", "reflection")
SAMPLING = [
    (dtype, mode, padding, aligned)
    for mode, padding, aligned in itertools.product(("bilinear", "nearest"), PADDING, ALIGNED)
    for dtype in FLOATS
]


@sampled("dtype mode padding aligned", SAMPLING, 5)
def test_volumes_are_sampled_on_a_grid(dtype, mode, padding, aligned):
    x = permuted(values(dtype, 2, 3, 4, 5, 6))
    # The kernel takes a point's coordinates to be adjacent: pytorch/pytorch#171602.
    grid = (torch.rand(3, 2, 4, 2, 3) * 3 - 1.5).to(dtype).transpose(0, 1)
    out = unwritten(dtype, 2, 3, 3, 4, 2)
    params = {
        "sampler_dims": 3,
        "output_sizes": out.shape,
        "output_strides": out.stride(),
        "input_sizes": x.shape,
        "input_strides": x.stride(),
        "grid_sizes": grid.shape,
        "grid_strides": grid.stride(),
        "interpolation_mode": ("bilinear", "nearest").index(mode),
        "padding_mode": PADDING.index(padding),
        "align_corners": aligned,
    }
    launch(f"grid_sampler_{METAL[dtype]}", out, x, grid, params, threads=out.numel())
    flags = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
    close(out, functional.grid_sample(x.float(), grid.float(), **flags), 2)
