"""PyTorch's own Metal kernels of attention in all widths, beside PyTorch."""

from __future__ import annotations

import itertools

import torch
from apple_torch_cases import FLOATS, METAL, close, memory, sampled, unwritten, values
from test_apple_torch import library
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """In float32; heads of queries share heads of keys where there are fewer of these."""
    function = torch.nn.functional.scaled_dot_product_attention
    return function(q.float(), k.float(), v.float(), attn_mask=mask, enable_gqa=True)


def of_positions_and_heads(dtype: torch.dtype, heads: int, positions: int, width: int) -> Tensor:
    """As projections give it: a position's heads lie side by side."""
    return values(dtype, 1, positions, heads, width).transpose(1, 2)


def strides(at: int, *tensors: Tensor) -> list[int]:
    return [tensor.stride(at) for tensor in tensors]


VECTORS = itertools.product(FLOATS, (64, 96, 128), (False, True))


@sampled("dtype width masked", VECTORS, 5)
def test_attention_of_few_queries(dtype, width, masked):
    heads, rows, keys = 2, 3, 45
    q = of_positions_and_heads(dtype, heads, rows, width)
    k, v = (of_positions_and_heads(dtype, heads, keys, width) for _ in range(2))
    out, mask = unwritten(dtype, 1, heads, rows, width), torch.rand(1, heads, rows, keys) > 0.3
    steps = [*strides(1, q, k, v)], [*strides(2, q, k, v)]
    rest = width**-0.5, mask, [mask.stride(at) for at in (1, 3, 2)], masked
    name = f"sdpa_vector_{METAL[dtype]}_{width}_{width}"
    run = getattr(library(), name)
    grid = {"threadgroups": (heads, rows, 1), "group_size": 1024}
    run(*map(memory, (q, k, v)), out, 1, keys, *steps, *rest, **grid)
    close(out, attention(q, k, v, mask if masked else None), 2)


@sampled("dtype width masked", itertools.product(FLOATS, (64, 96, 128), (True, False)), 5)
def test_attention_of_few_queries_to_many_keys_in_two_passes(dtype, width, masked):
    heads, shared, rows, keys, blocks = 4, 2, 2, 300, 32
    q = of_positions_and_heads(dtype, heads, rows, width)
    k, v = (of_positions_and_heads(dtype, shared, keys, width) for _ in range(2))
    out, mask = unwritten(dtype, 1, heads, rows, width), torch.rand(1, heads, rows, keys) > 0.3
    partial = unwritten(dtype, heads, rows, blocks, width)
    sums, most = (unwritten(torch.float32, heads, rows, blocks) for _ in range(2))
    steps = [*strides(1, q, k, v)], [*strides(2, q, k, v)]
    rest = width**-0.5, mask, [mask.stride(at) for at in (3, 2, 1)], masked
    first = getattr(library(), f"sdpa_vector_2pass_1_{METAL[dtype]}_{width}_{width}")
    grid = {"threadgroups": (heads, rows, blocks), "group_size": 8 * 32}
    of = heads // shared, keys
    first(*map(memory, (q, k, v)), partial, sums, most, *of, *steps, *rest, **grid)
    second = getattr(library(), f"sdpa_vector_2pass_2_{METAL[dtype]}_{width}")
    second(partial, sums, most, out, threadgroups=(heads, rows, 1), group_size=1024)
    close(out, attention(q, k, v, mask if masked else None), 2)


@sampled("dtype width", itertools.product(FLOATS, (64, 80, 128)), 9)
def test_attention_of_queries_that_fill_no_tile(dtype, width):
    heads, shared, rows, keys = 2, 1, 41, 37
    q = of_positions_and_heads(dtype, heads, rows, width)
    k, v = (of_positions_and_heads(dtype, shared, keys, width) for _ in range(2))
    out = unwritten(dtype, 1, heads, rows, width)
    tile = 16 if width == 128 else 32
    steps = [list(x.stride()[:3]) for x in (q, k, v, out)]
    run = getattr(library(), f"attention_{METAL[dtype]}_bq32_bk{tile}_bd{width}_wm4_wn1")
    grid = {"threadgroups": (-(-rows // 32), heads, 1), "group_size": (32, 4, 1)}
    of = rows, keys, heads // shared, width**-0.5, -(-keys // tile)
    run(*map(memory, (q, k, v)), out, *of, *steps, **grid)
    close(out, attention(q, k, v), 2)
