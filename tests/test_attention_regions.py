"""Attention in models, kept whole or written by hand: one region, offered as flash and unfused."""

from __future__ import annotations

import pytest
import torch
from samples_of import every
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention

import metalgen
from metalgen.optimize import Backend, contenders
from metalgen.optimize.means import Means


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()


def by_hand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / 4.0
    weights = torch.softmax(scores.masked_fill(~mask, -1e9), -1)
    return dropout(weights, 0.1, False) @ v


def added_by_hand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(torch.matmul(q * 0.3, k.transpose(2, 3)) + mask, dim=-1).matmul(v)


def grouped_by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    batch, heads, length, size = k.shape
    shape = (batch, heads, 2, length, size)
    k, v = (x[:, :, None].expand(shape).reshape(batch, 2 * heads, length, size) for x in (k, v))
    mixed = torch.softmax(q @ k.mT * 0.2, -1) @ v
    return mixed.transpose(1, 2).reshape(batch, q.shape[2], -1)


def in_three_dimensions(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.baddbmm(mask, q, k.mT) if mask.dim() > 3 else torch.bmm(q, k.mT)
    return torch.bmm(torch.softmax(scores.masked_fill(mask, -torch.inf), -1), v)


def in_two_dimensions(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.T * 0.25, 1) @ v


def heads(*sizes: int) -> Tensor:
    return torch.randn(2, *sizes)


def masked_row(queries: int, keys: int) -> Tensor:
    """A causal mask, under which one query sees nothing."""
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    mask[1] = False
    return mask


SDPA = scaled_dot_product_attention
CASES = {
    "plain": (SDPA, lambda: [heads(4, 7, 16), heads(4, 9, 16), heads(4, 9, 16)]),
    "transposed": (
        lambda q, k, v: SDPA(q.mT, k.mT, v.mT).transpose(1, 2).flatten(2),
        lambda: [heads(4, 16, 7), heads(4, 16, 9), heads(4, 16, 9)],
    ),
    "causal": (
        lambda q, k, v: SDPA(q, k, v, is_causal=True, scale=0.3),
        lambda: [heads(4, 9, 16) for _ in range(3)],
    ),
    "bool mask": (
        SDPA,
        lambda: [heads(4, 7, 16), heads(4, 9, 16), heads(4, 9, 16), masked_row(7, 9)],
    ),
    "added mask": (
        SDPA,
        lambda: [*(heads(4, n, 16) for n in (7, 9, 9)), torch.randn(2, 1, 1, 9)],
    ),
    "grouped": (
        lambda q, k, v: SDPA(q, k, v, enable_gqa=True),
        lambda: [heads(4, 7, 16), heads(2, 9, 16), heads(2, 9, 16)],
    ),
    "by hand": (by_hand, lambda: [*(heads(4, n, 16) for n in (7, 9, 9)), masked_row(7, 9)]),
    "added by hand": (
        added_by_hand,
        lambda: [*(heads(4, n, 16) for n in (7, 9, 9)), torch.randn(2, 1, 7, 9)],
    ),
    "grouped by hand": (
        grouped_by_hand,
        lambda: [heads(4, 7, 16), heads(2, 9, 16), heads(2, 9, 16)],
    ),
    "three dimensions": (
        in_three_dimensions,
        lambda: [heads(7, 16), heads(9, 16), heads(9, 24), ~masked_row(7, 9)],
    ),
    "two dimensions": (
        in_two_dimensions,
        lambda: [torch.randn(7, 16), torch.randn(9, 16), torch.randn(9, 16)],
    ),
}  # fmt: skip


def compiled(function, inputs, *sources):
    backend = Backend(Means("metal"), sources=sources)
    with torch.no_grad():
        return torch.compile(function, backend=backend, dynamic=True)(*inputs), backend.means.report


@pytest.mark.parametrize("offered", [contenders.flash, contenders.templates])
@pytest.mark.parametrize("case", every(2, CASES))
def test_attention_is_one_region_and_gives_what_eager_gives(case, offered):
    torch.manual_seed(0)
    function, make = CASES[case]
    inputs = make()
    result, report = compiled(function, inputs, offered)
    expected = function(*inputs)
    torch.testing.assert_close(result, expected, equal_nan=True)
    assert result.stride() == expected.stride()
    assert [region.choice for region in report.regions] == ["metal"], str(report)
    assert report.flops_share == 1.0
    if offered is contenders.flash:
        assert report.regions[0].kernels == 1


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_fused_encoder_layer_is_taken_apart(norm_first):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first).eval()
    x = torch.randn(3, 7, 16)
    fast = metalgen.optimize_for_metal(layer, policy="metal")
    with torch.no_grad():
        torch.testing.assert_close(fast(x), layer(x))
    report = fast.metal_report
    operators = {name for region in report.regions for name in region.operators}
    assert "scaled_dot_product_attention" in operators
    assert report.flops_share == 1.0
