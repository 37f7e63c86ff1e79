"""PyTorch's own Metal kernels on no elements at all and on what is not a number."""

from __future__ import annotations

import pytest
import torch
from apple_torch_cases import FLOATS, METAL, close, launch, unwritten, values
from test_apple_torch import library
from test_apple_torch_integer_products import GRID
from test_apple_torch_pooling import Windows, average_params, laid_out
from test_apple_torch_scans import scan
from torch import Tensor

functional = torch.nn.functional
# Windows of neighbours, without padding, in which each element lies in several.
CASE = Windows((2, 3, 5, 6, 7), (2, 3, 2), (1, 1, 1))


def windows_of(x: Tensor) -> Tensor:
    """The elements of each window, in the order in which kernels read them."""
    for axis, (size, step) in enumerate(zip(CASE.kernel, CASE.stride, strict=True), start=2):
        x = x.unfold(axis, size, step)
    return x.flatten(-3)


def with_holes(dtype: torch.dtype) -> Tensor:
    """Normal numbers, one in ten of them none, three in ten without bounds below."""
    x, chance = values(dtype, *CASE.shape), torch.rand(CASE.shape)
    x[chance < 0.1] = torch.nan
    x[chance > 0.7] = -torch.inf
    return x


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_of_a_window_is_compared_as_apples_compiler_left_it(dtype):
    # The 2.9.1 kernel starts with a window's first element and takes what is larger: NaN stays
    # where it is first and is passed over elsewhere, unlike in PyTorch's kernels for processors.
    x = with_holes(dtype)
    elements = windows_of(x)
    expected, place = elements[..., 0].clone(), torch.zeros(elements.shape[:-1], dtype=torch.int64)
    for at in range(1, elements.shape[-1]):
        larger = elements[..., at] > expected
        expected[larger], place[larger] = elements[..., at][larger], at
    flat = torch.arange(x[0, 0].numel()).reshape(1, 1, *CASE.shape[2:]).expand(CASE.shape)
    indices = windows_of(flat).gather(-1, place[..., None]).squeeze(-1)
    out, found = unwritten(dtype, *expected.shape), torch.full(expected.shape, -7)
    params = {
        "dims": 5,
        "pooling_dims": 3,
        **laid_out("input", x),
        **laid_out("output", out),
        **laid_out("indices", found),
        **CASE.geometry(),
        "dilation": CASE.dilation,
        "return_indices": True,
    }
    launch(f"max_pool_{METAL[dtype]}", x, out, found, params, threads=out.numel())
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found, indices)
    assert expected.isnan().any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_averages_of_windows_keep_what_is_not_a_number(dtype):
    x = with_holes(dtype)
    expected = functional.avg_pool3d(x.float(), **CASE.geometry()).to(dtype)
    out = unwritten(dtype, *expected.shape)
    params = average_params(CASE, x, out, True, None)
    launch(f"avg_pool_{METAL[dtype]}", x, out, params, threads=out.numel())
    assert torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out.isinf(), expected.isinf())
    finite = expected.isfinite()
    close(out[finite], expected[finite], 4)


NOTHING = torch.zeros(0)
EMPTY = {
    "exp_dense_float_float": (NOTHING,),
    "add_alpha_dense_float_float_float": (NOTHING, NOTHING, torch.ones(1)),
    "sin_dense_half_half": (NOTHING.half(),),
    "bitwise_not_dense_int_int": (NOTHING.int(),),
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_element_is_read_or_written_where_there_is_none(name):
    kernel, arguments = getattr(library(), name), EMPTY[name]
    dtype = arguments[0].dtype
    kernel(torch.zeros(0, dtype=dtype), *arguments)  # as many threads as elements
    guard = unwritten(dtype, 4)
    kernel(guard, *arguments, threads=0)
    assert torch.equal(guard, unwritten(dtype, 4))


@pytest.mark.parametrize("shape", [(0, 7), (2, 0, 5), (0, 3, 4)])
def test_running_extremes_of_nothing(shape):
    out, places = torch.zeros(shape), torch.zeros(shape, dtype=torch.int64)
    scan("cummax", torch.zeros(shape), out, places)


def test_products_over_no_elements_are_zero():
    a, b = torch.zeros(20, 0, dtype=torch.int32), torch.zeros(24, 0, dtype=torch.int32)
    out = unwritten(torch.int32, 20, 24)
    library().matmul_int(a, b, out, [0, 1, 1, 0, 24, 1], (20, 0, 24), **GRID)
    assert torch.equal(out, torch.zeros_like(out))
