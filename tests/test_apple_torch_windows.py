"""PyTorch's own Metal kernels that lay out windows as columns and back, beside PyTorch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from apple_torch_cases import (
    FLOATS,
    METAL,
    close,
    launch,
    memory,
    permuted,
    sampled,
    unwritten,
    values,
)

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
functional = torch.nn.functional
COMPLEX = torch.complex64, torch.complex32
Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Which elements of images become columns; (height, width) each."""

    shape: tuple[int, int, int, int]
    kernel: Pair
    padding: Pair
    stride: Pair
    dilation: Pair

    def geometry(self) -> dict[str, Pair]:
        return {
            "kernel_size": self.kernel,
            "padding": self.padding,
            "stride": self.stride,
            "dilation": self.dilation,
        }

    def columns(self) -> Pair:
        """How many windows there are, down and across."""
        down, across = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, padding, stride, dilation in zip(
                self.shape[2:], self.kernel, self.padding, self.stride, self.dilation, strict=True
            )
        )
        return down, across


WINDOWS = [
    Windows((2, 3, 7, 6), (3, 2), (1, 0), (2, 1), (1, 1)),
    Windows((1, 2, 9, 8), (2, 3), (2, 1), (1, 3), (3, 2)),
    Windows((3, 1, 5, 4), (5, 4), (0, 0), (1, 1), (1, 1)),
]


@sampled("dtype case", itertools.product((*FLOATS, torch.bool, *COMPLEX), WINDOWS), 4)
def test_windows_become_columns(dtype, case):
    x = permuted(values(dtype, *case.shape))
    down, across = case.columns()
    size = case.kernel[0] * case.kernel[1] * case.shape[1]
    out = unwritten(dtype, case.shape[0], size, down * across)
    near = [*reversed(case.kernel), *reversed(case.dilation)]
    far = [*reversed(case.padding), *reversed(case.stride)]
    steps = list(reversed(x.stride())), [*reversed(out.stride()), across]
    threads = down * across, *reversed(case.shape[:2])
    launch(
        f"im2col_{METAL[dtype]}", x, out, near, far, *steps, list(reversed(x.shape)),
        threads=threads,
    )  # fmt: skip
    exact = x.to(torch.complex64 if dtype.is_complex else torch.float32)
    expected = functional.unfold(exact, **case.geometry())
    assert torch.equal(memory(out), memory(expected.to(dtype)))


@sampled("dtype case", itertools.product((*FLOATS, torch.bool), WINDOWS), 4)
def test_columns_are_added_up_to_images(dtype, case):
    size, (down, across) = case.kernel[0] * case.kernel[1], case.columns()
    columns = values(dtype, case.shape[0], size * case.shape[1], down * across)
    out = unwritten(dtype, *case.shape)
    hw = case.shape[2:]
    expected = functional.fold(columns.float(), hw, **case.geometry())
    pairs = hw, case.kernel, case.padding, case.stride, case.dilation, (down, across)
    arguments = columns.stride(0), case.shape[1], *map(list, pairs), out.stride(0)
    threads = hw[1], hw[0], case.shape[0] * case.shape[1]
    launch(f"col2im_kernel_{METAL[dtype]}", columns, out, *arguments, threads=threads)
    close(out, expected)


SLIDING = [(0, 3, 2), (1, 2, 3), (2, 4, 1), (1, 6, 1)]


@sampled("dtype sliding", itertools.product(FLOATS, SLIDING), 5)
def test_gradients_of_sliding_windows(dtype, sliding):
    dim, size, step = sliding
    shape = (5, 6, 7)
    grad = permuted(values(dtype, *torch.empty(shape).unfold(*sliding).shape))
    out = permuted(unwritten(dtype, *shape))
    expected = torch.ops.aten.unfold_backward(grad.float(), list(shape), dim, size, step)
    steps = list(grad.stride()), list(shape), list(out.stride())
    launch(f"unfold_backward_{METAL[dtype]}", grad, out, *steps, (dim, size, step, 3), threads=210)
    close(out, expected, 2)
