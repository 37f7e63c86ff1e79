"""PyTorch's own Metal kernels of layers, products, attention, resizing and indexing."""

from __future__ import annotations

import struct

import pytest
import torch
from apple_cases import assert_close, listed
from test_apple_torch import NAMES, library
from torch import Tensor

TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
DTYPES = [
    torch.float32,
    pytest.param(torch.float16, marks=pytest.mark.thorough),
    pytest.param(torch.bfloat16, marks=pytest.mark.thorough),
]
by_type = pytest.mark.parametrize("dtype", DTYPES)


def kernel(name: str, dtype: torch.dtype):
    return getattr(library(), name.format(NAMES[dtype]))


def nothing(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.full(shape, 77, dtype=dtype)


def longs(*values: int) -> bytes:
    return struct.pack(f"={len(values)}q", *values)


def words(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


@pytest.mark.parametrize(("form", "columns"), [("single_row", 200), ("looped", 5000)])
@by_type
def test_layer_norm(dtype, form, columns):
    x, weight, bias = (torch.randn(n, columns).to(dtype) for n in (3, 1, 1))
    out, mean, scale = nothing(dtype, 3, columns), nothing(dtype, 3), nothing(dtype, 3)
    group = 64 if form == "single_row" else 1024
    arguments = x, out, mean, scale, columns, 1e-5, 1, 1, weight, bias
    kernel(f"layer_norm_{form}_{{}}", dtype)(*arguments, threadgroups=3, group_size=group)
    wide = x.float()
    variance, centre = torch.var_mean(wide, -1, correction=0)
    expected = torch.nn.functional.layer_norm(
        wide, [columns], weight[0].float(), bias[0].float(), 1e-5
    )
    assert_close(out, expected.to(dtype), TOLERANCE[dtype])
    assert_close(mean, centre.to(dtype), TOLERANCE[dtype])
    assert_close(scale, (variance + 1e-5).rsqrt().to(dtype), TOLERANCE[dtype])


@by_type
def test_products_of_matrices(dtype):
    a, b = torch.randn(20, 35).to(dtype), torch.randn(24, 35).to(dtype)
    out, bias = nothing(dtype, 20, 24), torch.randn(20, 24).to(dtype)
    product = a.float() @ b.float().T
    grid = {"threads": (32, 32), "group_size": (16, 16)}
    strides = longs(35, 1, 1, 35, 24, 1)
    sizes = words(20, 35, 24, 0)
    kernel("matmul_{}", dtype)(a, b, out, strides, sizes, **grid)
    assert_close(out, product.to(dtype), 10 * TOLERANCE[dtype])
    factors = torch.tensor([0.5, 2.0])  # in float32 whatever the matrices are
    arguments = a, b, out, bias, factors, strides + longs(24, 1), sizes
    kernel("addmm_{}", dtype)(*arguments, **grid)
    assert_close(out, (0.5 * product + 2 * bias.float()).to(dtype), 10 * TOLERANCE[dtype])


@by_type
def test_products_of_batches(dtype):
    a, b = torch.randn(3, 20, 35).to(dtype), torch.randn(3, 35, 24).to(dtype)
    out = nothing(dtype, 3, 20, 24)
    strides = longs(1, 35, 700, 1, 24, 840, 1, 24, 480)
    arguments = a, b, out, strides, words(20, 35, 24, 3)
    kernel("naive_bmm_{}", dtype)(*arguments, threadgroups=(2, 2, 3), group_size=(16, 16, 1))
    assert_close(out, (a.float() @ b.float()).to(dtype), 10 * TOLERANCE[dtype])


@by_type
def test_attention_of_one_query(dtype):
    heads, keys, width = 4, 70, 64
    q, k, v = (torch.randn(heads, n, width).to(dtype) for n in (1, keys, keys))
    out, mask = nothing(dtype, heads, 1, width), torch.rand(heads, 1, keys) > 0.3
    arguments = (
        *(q, k, v, out, 1, keys),
        words(width, keys * width, keys * width, 0),
        words(width, width, width, 0),
        *(width**-0.5, mask, words(keys, 1, keys, 0), True),
    )
    run = kernel("sdpa_vector_{}_64_64", dtype)
    run(*arguments, threadgroups=(heads, 1, 1), group_size=1024)
    scores = q.float() @ k.float().mT * width**-0.5
    expected = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v.float()
    assert_close(out, expected.to(dtype), 2 * TOLERANCE[dtype])


@by_type
def test_attention_of_many_queries(dtype):
    heads, rows, keys, width = 2, 64, 96, 64
    q, k, v = (torch.randn(1, heads, n, width).to(dtype) for n in (rows, keys, keys))
    out = nothing(dtype, 1, heads, rows, width)
    strides = [words(*(x.stride(i) for i in range(3)), 0) for x in (q, k, v, out)]
    arguments = q, k, v, out, rows, keys, 1, width**-0.5, keys // 32, *strides
    run = kernel("attention_{}_bq32_bk32_bd64_wm4_wn1", dtype)
    run(*arguments, threadgroups=(rows // 32, heads, 1), group_size=(32, 4, 1))
    expected = (q.float() @ k.float().mT * width**-0.5).softmax(-1) @ v.float()
    assert_close(out, expected.to(dtype), 2 * TOLERANCE[dtype])


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@by_type
def test_resizing_of_images(dtype, mode, aligned):
    x, out = torch.randn(2, 3, 5, 7).to(dtype), nothing(dtype, 2, 3, 9, 12)
    steps = longs(*x.stride()), longs(*out.stride())
    sizes = longs(*x.shape), longs(*out.shape)
    scale = [(x.shape[i] - aligned) / (out.shape[i] - aligned) for i in (3, 2)]
    arguments = x, out, *steps, *sizes, struct.pack("=2f", *scale), aligned
    kernel(f"upsample_{mode}2d_{{}}", dtype)(*arguments, threads=9 * 12)
    expected = torch.nn.functional.interpolate(x.float(), (9, 12), mode=mode, align_corners=aligned)
    assert_close(out, expected.to(dtype), 2 * TOLERANCE[dtype])


@by_type
def test_indexed_copies_and_masked_fills(dtype):
    x, source = torch.randn(6, 5).to(dtype), torch.randn(6, 3).to(dtype)
    places, out = torch.tensor([4, 0, 2], dtype=torch.int32), nothing(dtype, 6, 5)
    out.copy_(x)
    arguments = out, x, source, places, 1, listed((6, 5)), 2, 3
    kernel("index_copy_dense_{}_int", dtype)(*arguments, threads=30)
    assert torch.equal(out, x.index_copy(1, places.long(), source))


@by_type
def test_running_sums_of_exponentials_and_extremes_down_columns(dtype):
    x = torch.randn(3, 200).to(dtype)
    out = nothing(dtype, 3, 200)
    kernel("logcumsumexp_innermost_{}", dtype)(x, out, 200, threadgroups=(1, 3), group_size=64)
    assert_close(out, x.float().logcumsumexp(-1).to(dtype), 4 * TOLERANCE[dtype])
    x = torch.randn(70, 40).to(dtype)
    out, places = nothing(dtype, 70, 40), torch.zeros(70, 40, dtype=torch.int64)
    run = kernel("cummax_outer_{}", dtype)
    run(x, out, places, 70, 40, 2, threadgroups=(1, 2), group_size=256)
    assert torch.equal(out, x.cummax(0).values)


@by_type
def test_gamma_functions(dtype):
    x = (torch.rand(100) * 4 + 0.3).to(dtype)
    for name, function in (("lgamma", torch.lgamma), ("digamma", torch.digamma)):
        out = nothing(dtype, 100)
        kernel(f"{name}_{{0}}_{{0}}", dtype)(x, out, threads=100)
        assert_close(out, function(x.float()).to(dtype), 10 * TOLERANCE[dtype])


@by_type
def test_factors_of_rows_that_are_too_long(dtype):
    lengths, out = torch.tensor([0.5, 2.0, 4.0]).to(dtype), nothing(dtype, 3)
    kernel("renorm_{}", dtype)(lengths, out, 1.0, threads=3)
    assert_close(out, torch.tensor([1.0, 0.5, 0.25]).to(dtype), TOLERANCE[dtype])


@by_type
def test_places_among_sorted_boundaries(dtype):
    bounds, x = torch.randn(20).sort().values.to(dtype), torch.randn(50).to(dtype)
    out = torch.zeros(50, dtype=torch.int32)
    arguments = x, bounds, out, 50, 20, 50, 0, 1
    kernel("searchsorted_{}_int", dtype)(*arguments, threads=64, group_size=32)
    assert torch.equal(out, torch.searchsorted(bounds, x, out_int32=True))
