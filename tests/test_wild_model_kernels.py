"""Kernels in the ways in which language models write them, each compared with PyTorch."""

from __future__ import annotations

import pytest
import torch
from test_wild_kernels import check, library
from torch.nn import functional

randn = torch.randn


def test_a_product_its_activation_and_the_sums_of_rows():
    a, b, bias, sums = randn(37, 50), randn(50, 41), randn(41), torch.zeros(37)
    kernel = library("gemm_gelu_rowsum").gemm_gelu_rowsum
    kernel(a, b, bias, sums, [37, 41, 50], threads=(48, 48), group_size=(16, 16))
    expected = functional.gelu(a @ b + bias, approximate="tanh").sum(1)
    check(sums, expected, 1e-3)


def test_transposed_convolution():
    x, w = randn(2, 3, 5, 6), randn(3, 4, 3, 2)
    how = {"stride": (2, 3), "padding": (1, 0), "dilation": (2, 1)}
    expected = functional.conv_transpose2d(x, w, **how)
    y, (height, width) = torch.zeros_like(expected), expected.shape[2:]
    sizes = [[*x.shape], [*w.shape], *map(list, how.values()), height, width]
    kernel = library("conv_transpose").conv_transpose2d
    kernel(x, w, y, sizes, threads=(width, height, 8))
    check(y, expected, 1e-4)


def test_normalised_planes():
    x = (randn(2, 3, 10, 14) * 2 + 1).half()
    y = torch.zeros_like(x)
    kernel = library("instance_norm").instance_norm
    kernel(x, y, 35, 1e-5, threadgroups=6, group_size=96, threadgroup_memory={0: 256})
    check(y, functional.instance_norm(x.float()).half(), 1e-2)


def test_an_lstm_cell():
    cell = torch.nn.LSTMCell(10, 20).requires_grad_(False)
    x, h, c = randn(3, 10), randn(3, 20), randn(3, 20)
    h_out, c_out = torch.zeros(3, 20), torch.zeros(3, 20)
    bias = cell.bias_ih + cell.bias_hh
    kernel = library("lstm_cell").lstm_cell
    kernel(x, h, c, cell.weight_ih, cell.weight_hh, bias, h_out, c_out, [10, 20], threads=(20, 3))
    expected = cell(x, (h, c))
    check(h_out, expected[0], 1e-4)
    check(c_out, expected[1], 1e-4)


@pytest.mark.parametrize("sizes", [(64, 64, 64), (50, 70, 41)])
def test_a_product_with_two_buffers_of_tiles(sizes):
    m, n, k = sizes
    a, b, c = randn(m, k).half(), randn(k, n).half(), torch.zeros(m, n)
    groups = -(-n // 32), -(-m // 32)
    library("gemm_double_buffer").gemm(a, b, c, [m, n, k], threadgroups=groups, group_size=(128, 1))
    check(c, a.float() @ b.float(), 1e-3)


@pytest.mark.parametrize("kind", ["plain", "masked", "causal"])
def test_attention_with_a_mask(kind):
    q, k, v = randn(2, 9, 32).half(), randn(2, 13, 32).half(), randn(2, 13, 32).half()
    mask = torch.rand(9, 13) > 0.4
    mask[:, 0] = True
    given = {"masked": mask, "causal": torch.ones(9, 13).tril().bool()}.get(kind)
    out = torch.zeros(2, 9, 32).half()
    library("attention_mask").sdpa(
        q, k, v, mask.byte() if kind == "masked" else None, out, 32**-0.5, [9, 13],
        threads=(9, 2), group_size=(32, 1),
        constants={"has_mask": kind == "masked", "causal": kind == "causal", "D": 32},
    )  # fmt: skip
    expected = functional.scaled_dot_product_attention(
        q.float(), k.float(), v.float(), attn_mask=given
    )
    check(out, expected.half(), 5e-3)


def test_the_largest_of_each_row_ties_included():
    x = randn(5, 700)
    x[:, 100:120] = 2.0
    values, places = torch.zeros(5, 50), torch.zeros(5, 50, dtype=torch.int32)
    library("topk_radix").topk(x, values, places, 700, 50, threadgroups=5, group_size=256)
    assert torch.equal(values.sort(descending=True).values, x.topk(50).values)
    assert torch.equal(x.gather(1, places.long()), values)
    assert all(len(set(row)) == 50 for row in places.tolist())


def test_running_sums_forward_and_backward():
    kernels = library("cumsum_rows")
    x, y = randn(3, 1000), torch.zeros(3, 1000)
    kernels.scan_f32(x, y, 1000, threadgroups=3, group_size=128)
    check(y, x.cumsum(1), 1e-3)
    x, y = randn(3, 77).half(), torch.zeros(3, 77).half()
    kernels.scan_f16_reverse_exclusive(x, y, 77, threadgroups=3, group_size=64)
    check(y.float(), x.float().flip(1).cumsum(1).flip(1) - x.float(), 2e-2)


def test_triplet_loss_and_its_largest():
    anchor, positive, negative = randn(17, 40), randn(17, 40), randn(17, 40)
    loss, largest = torch.zeros(1), torch.zeros(1, dtype=torch.int32)
    kernel = library("triplet").triplet_loss
    kernel(anchor, positive, negative, loss, largest, 1.0, 40, 17, threads=32)
    expected = functional.triplet_margin_loss(anchor, positive, negative, reduction="none")
    check(loss[0], expected.mean(), 1e-4)
    check(largest.view(torch.float32)[0], expected.max(), 1e-4)


def test_group_norm_far_from_zero():
    x, gamma, beta = randn(2, 6, 7, 5) * 3 + 1000, randn(6), randn(6)
    y = torch.zeros_like(x)
    library("welford_group_norm").group_norm(
        x, y, gamma, beta, [2, 6, 35, 3], 1e-5, threadgroups=(3, 2), group_size=(64, 1)
    )
    check(y, functional.group_norm(x, 3, gamma, beta), 1e-3)


def test_depthwise_convolution_from_tiles():
    x, w, y = randn(3, 20, 37), randn(3, 1, 3, 3), torch.zeros(3, 20, 37)
    kernel = library("depthwise_tile").depthwise
    kernel(x, w, y, [3, 20, 37], threadgroups=(3, 2, 3), group_size=(16, 16, 1))
    check(y, functional.conv2d(x[None], w, padding=1, groups=3)[0], 1e-4)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_embeddings(mode):
    table, indices = randn(30, 3), torch.randint(0, 30, (40,))
    offsets, out = torch.tensor([0, 5, 5, 20]), torch.ones(4, 3)
    number = ["sum", "mean", "max"].index(mode)
    library("embedding_bag").embedding_bag(indices, offsets, table, out, 40, 4, number, threads=4)
    check(out, functional.embedding_bag(indices, table, offsets, mode=mode))


def test_what_a_mask_selects():
    x, mask = randn(500), torch.rand(500) > 0.6
    out, count = torch.zeros(500), torch.zeros(1, dtype=torch.int32)
    kernel = library("compaction").masked_select
    kernel(x, mask, out, count, 500, threads=512, group_size=64)
    assert torch.equal(out[: count.item()].sort().values, x[mask].sort().values)


def test_softmax_of_rows_of_bfloat():
    x = (randn(4, 300) * 4).bfloat16()
    y = torch.zeros_like(x)
    library("online_softmax").softmax_online(x, y, 300, threadgroups=4, group_size=96)
    check(y.float(), torch.softmax(x.float(), 1), 1e-2)
