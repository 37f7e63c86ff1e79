"""PyTorch's own Metal kernels of pooling over volumes, beside PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from apple_torch_cases import (
    FLOATS,
    METAL,
    REAL,
    close,
    filled,
    launch,
    permuted,
    sampled,
    unwritten,
    values,
    wide,
)
from torch import Tensor

functional = torch.nn.functional
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Windows:
    """Which elements are pooled."""

    shape: tuple[int, ...]  # with or without a batch
    kernel: Triple
    stride: Triple
    padding: Triple = (0, 0, 0)
    dilation: Triple = (1, 1, 1)
    ceil: bool = False
    permuted: bool = False

    def geometry(self) -> dict[str, object]:
        return {"kernel_size": self.kernel, "stride": self.stride, "padding": self.padding}

    def input(self, dtype: torch.dtype) -> Tensor:
        x = values(dtype, *self.shape)
        return permuted(x) if self.permuted else x


WINDOWS = {
    "padded": Windows((2, 3, 5, 6, 7), (2, 3, 2), (2, 1, 2), (1, 1, 0)),
    "dilated": Windows((1, 2, 7, 5, 9), (2, 2, 3), (1, 2, 1), (1, 0, 1), (3, 1, 2)),
    "rounded up": Windows((2, 2, 5, 6, 7), (2, 3, 2), (2, 2, 3), (1, 1, 1), ceil=True),
    "without a batch": Windows((3, 5, 6, 7), (3, 2, 2), (2, 2, 2), (1, 0, 1)),
    "strided": Windows((2, 3, 5, 6, 7), (2, 3, 2), (2, 1, 2), (1, 1, 0), permuted=True),
    "all": Windows((2, 1, 3, 4, 5), (3, 4, 5), (1, 1, 1)),
}
UNDILATED = [name for name in WINDOWS if name != "dilated"]


def laid_out(name: str, x: Tensor, strides: bool = True) -> dict[str, list[int]]:
    """A tensor's shape in a struct of parameters."""
    sizes = {f"{name}_sizes": filled(x.shape, 5)}
    return {**sizes, f"{name}_strides": filled(x.stride(), 5)} if strides else sizes


@sampled(
    "dtype windows indexed",
    ((dtype, name, indexed) for name in WINDOWS for indexed in (True, False) for dtype in REAL),
    19,
)
def test_largest_of_windows(dtype, windows, indexed):
    case = WINDOWS[windows]
    x = case.input(dtype)
    more = {"dilation": case.dilation, "ceil_mode": case.ceil, "return_indices": True}
    expected, places = functional.max_pool3d(x.double(), **case.geometry(), **more)
    out, indices = unwritten(dtype, *expected.shape), torch.full(expected.shape, -7)
    params = {
        "dims": x.dim(),
        "pooling_dims": 3,
        **laid_out("input", x),
        **laid_out("output", out),
        **laid_out("indices", indices),
        **case.geometry(),
        "dilation": case.dilation,
        "return_indices": indexed,
    }
    launch(f"max_pool_{METAL[dtype]}", x, out, indices, params, threads=out.numel())
    assert torch.equal(out, expected.to(dtype))
    assert torch.equal(indices, places if indexed else torch.full_like(places, -7))


@sampled("dtype windows", ((dtype, name) for name in WINDOWS for dtype in FLOATS), 4)
def test_gradients_of_the_largest_of_windows(dtype, windows):
    case = WINDOWS[windows]
    x = case.input(dtype).float().requires_grad_()
    more = {"dilation": case.dilation, "ceil_mode": case.ceil, "return_indices": True}
    pooled, places = functional.max_pool3d(x, **case.geometry(), **more)
    grad = permuted(values(dtype, *pooled.shape))
    (expected,) = torch.autograd.grad(pooled, x, grad.float())
    out = torch.zeros(x.shape, dtype=dtype)
    params = {
        "dims": x.dim(),
        "pooling_dims": 3,
        **laid_out("grad_input", out),
        **laid_out("grad_output", grad),
        "indices_strides": filled(places.stride(), 5),
    }
    launch(f"max_pool_backward_{METAL[dtype]}", out, grad, places, params, threads=grad.numel())
    close(out, expected, 4)


AVERAGES = [
    (dtype, name, padded, divisor)
    for name in UNDILATED
    for padded, divisor in ((True, None), (False, None), (True, 5))
    for dtype in REAL
]


def average_params(
    case: Windows, x: Tensor, out: Tensor, padded: bool, divisor: int | None
) -> dict[str, object]:
    return {
        "dims": x.dim(),
        "pooling_dims": 3,
        **laid_out("input", x),
        **laid_out("output", out),
        **case.geometry(),
        "count_include_pad": padded,
        "has_divisor_override": divisor is not None,
        "divisor_override": divisor or 0,
    }


@sampled("dtype windows padded divisor", AVERAGES, 23)
def test_averages_of_windows(dtype, windows, padded, divisor):
    case = WINDOWS[windows]
    x = case.input(dtype)
    expected = functional.avg_pool3d(
        wide(x), **case.geometry(), ceil_mode=case.ceil, count_include_pad=padded,
        divisor_override=divisor,
    )  # fmt: skip
    out = unwritten(dtype, *expected.shape)
    params = average_params(case, x, out, padded, divisor)
    launch(f"avg_pool_{METAL[dtype]}", x, out, params, threads=out.numel())
    close(out, expected, 4)


@sampled("dtype windows padded divisor", [case for case in AVERAGES if case[0] in FLOATS], 11)
def test_gradients_of_averages_of_windows(dtype, windows, padded, divisor):
    case = WINDOWS[windows]
    x = case.input(dtype).float().requires_grad_()
    pooled = functional.avg_pool3d(
        x, **case.geometry(), ceil_mode=case.ceil, count_include_pad=padded,
        divisor_override=divisor,
    )  # fmt: skip
    grad = values(dtype, *pooled.shape)
    (expected,) = torch.autograd.grad(pooled, x, grad.float())
    out = torch.zeros(x.shape, dtype=dtype)
    params = average_params(case, out, grad, padded, divisor)
    launch(f"avg_pool_backward_{METAL[dtype]}", out, grad, params, threads=grad.numel())
    close(out, expected, 4)


@pytest.mark.parametrize("dims", [2, 3])
@sampled("dtype batch", ((dtype, batch) for batch in (True, False) for dtype in REAL), 7)
def test_what_was_pooled_is_put_back(dtype, batch, dims):
    sizes = (5, 6, 7)[:dims]
    full = torch.randn(*((2, 3) if batch else (3,)), *sizes)
    pool = functional.max_pool2d if dims == 2 else functional.max_pool3d
    _, places = pool(full, 2, return_indices=True)
    x = permuted(values(dtype, *places.shape))
    unpool = functional.max_unpool2d if dims == 2 else functional.max_unpool3d
    expected = unpool(x.double(), places, 2, output_size=list(sizes))
    out = torch.zeros(expected.shape, dtype=dtype)
    params = {
        "dims": x.dim(),
        "pooling_dims": dims,
        **laid_out("input", x),
        **laid_out("output", out),
        "indices_strides": filled(places.stride(), 5),
    }
    launch(f"max_unpool_{METAL[dtype]}", out, x, places, params, threads=x.numel())
    assert torch.equal(out, expected.to(dtype))
