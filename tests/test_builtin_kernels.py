"""Every family of templates beside eager PyTorch, also at sizes it was not made for."""

from __future__ import annotations

import pytest
import torch
from builtin_runs import OfOne, OfTwo, agree
from samples_of import every
from torch import nn, randn
from torch.nn import functional

ACTIVATIONS = (
    "gelu relu relu6 silu mish softplus softsign elu selu celu leaky_relu hardtanh hardswish"
    " hardsigmoid logsigmoid tanh sigmoid"
).split()


def sum_of_activations(x):
    return sum(getattr(functional, name)(x) for name in ACTIVATIONS)


def maths(x, y):
    positive = y.abs() + 0.1
    return (
        torch.exp(x) + torch.log(positive) + torch.sqrt(positive) + torch.rsqrt(positive),
        positive**1.7 + x**3 + torch.sin(x) + torch.cos(x) + torch.atan2(x, y),
        torch.erf(x) + torch.erfc(x) + torch.erfinv(torch.tanh(x)) + torch.expm1(x),
        torch.log1p(positive) + torch.lerp(x, y, 0.3) + torch.sign(x) + torch.round(x),
    )


def comparisons(x, y):
    chosen = torch.where((x > y) & (x != 0) | ~(y < 0.5), x, torch.minimum(x, y))
    return chosen, x >= y, torch.maximum(x, y), torch.logical_not(x > 0), x.clamp(min=0.1)


def reductions(x):
    return (
        x.sum(0), x.mean(1), x.amax(-1), x.amin((0, 2)), x.sum(), x.prod(-1), x.var(1), x.std(),
        x.max(), x.any(), (x > -9).all(1),
    )  # fmt: skip


def positions(x):
    largest, smallest = x.max(1), x.min(-1)
    return (
        largest.values, largest.indices, smallest.values, smallest.indices,
        x.argmax(-1), x.argmin(0), x.argmax(),
    )  # fmt: skip


def views(x):
    return (
        x[:, 1:3, ::2], x[:, -1], x.permute(2, 0, 1), x.chunk(2, -1)[1] * 2, x.flip(1),
        torch.stack([x, x + 1], 0), x.repeat(2, 1, 1), functional.pad(x, (1, 2, 3, 0)),
        x.unsqueeze(1).expand(-1, 3, -1, -1), torch.tril(x), torch.roll(x, 2, 1),
    )  # fmt: skip


def doubled(x):
    return functional.interpolate(x, scale_factor=2)


def scans(x):
    return x.cumsum(-1), x.cumsum(1), x.sin().cumprod(-1)


def pooling(x):
    return (
        functional.max_pool2d(x, 2), functional.avg_pool2d(x, 3, stride=2, padding=1),
        functional.adaptive_avg_pool2d(x, 1), functional.max_pool2d(x, 3, stride=2, padding=1),
        functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False),
    )  # fmt: skip


def losses(x, y):
    return (
        functional.mse_loss(x, y), functional.smooth_l1_loss(x, y), functional.l1_loss(x, y),
        functional.kl_div(functional.log_softmax(x, 1), functional.softmax(y, 1)),
        functional.cosine_similarity(x, y), functional.huber_loss(x, y),
    )  # fmt: skip


def integers(x):
    return (
        x // 3, x % 5, x * 2 - 7, x.float() * 0.5, x == 4, -x, x.abs(), x**2, x & 12, x.sum(-1),
        torch.fmod(x, 4), x.cumsum(0), x.amax(1), x.to(torch.int32) // 7,
    )  # fmt: skip


ONE_INPUT = {
    "activations": (OfOne(sum_of_activations), (5, 130), (3, 71)),
    "gelu by tanh": (OfOne(lambda x: functional.gelu(x, approximate="tanh")), (5, 7), (9, 2)),
    "reductions": (OfOne(reductions), (12, 33, 17), (3, 70, 40)),
    "positions": (OfOne(positions), (12, 300, 17), (4, 33, 70)),
    "softmax of short rows": (OfOne(lambda x: torch.softmax(x, -1)), (300, 10), (40, 10)),
    "softmax": (OfOne(lambda x: torch.softmax(x, -1)), (16, 300), (3, 45)),
    "softmax of long rows": (OfOne(lambda x: torch.softmax(x, -1)), (3, 5000), (2, 1111)),
    "softmax of columns": (OfOne(lambda x: torch.log_softmax(x, 1)), (8, 40, 50), (3, 9, 11)),
    "long sums": (OfOne(lambda x: (x.sum(), x.sum(0), x.mean((0, 1)))), (300, 200), (90, 31)),
    "layer norm": (nn.LayerNorm(64), (3, 20, 64), (2, 7, 64)),
    "layer norm of images": (nn.LayerNorm((4, 96, 96)), (2, 4, 96, 96), (3, 4, 96, 96)),
    "group norm": (nn.GroupNorm(8, 32), (4, 32, 10, 9), (2, 32, 5, 4)),
    "instance norm": (nn.InstanceNorm2d(8), (4, 8, 20, 19), (2, 8, 6, 7)),
    "batch norm": (nn.BatchNorm2d(8), (4, 8, 20, 19), (2, 8, 6, 7)),
    "batch norm in eval": (nn.BatchNorm2d(8).eval(), (4, 8, 20, 19), (2, 8, 6, 7)),
    "scans": (OfOne(scans), (5, 9, 300), (2, 4, 70)),
    "views": (OfOne(views), (4, 6, 8), (3, 6, 8)),
    "pooling": (OfOne(pooling), (2, 4, 16, 20), (1, 3, 12, 14)),
    "linear": (nn.Sequential(nn.Linear(70, 90), nn.GELU()), (100, 70), (33, 70)),
    "linear with few results": (nn.Linear(70, 3), (100, 70), (5, 70)),
    "own product": (OfOne(lambda x: x @ x.transpose(-2, -1)), (2, 3, 50, 40), (1, 4, 9, 10)),
    "convolution": (nn.Conv2d(3, 16, 3, padding=1), (2, 3, 20, 22), (3, 3, 9, 8)),
    "strided convolution": (nn.Conv2d(8, 16, 3, 2, 1), (2, 8, 20, 22), (1, 8, 9, 9)),
    "grouped convolution": (nn.Conv2d(8, 32, 3, groups=2), (2, 8, 20, 22), (1, 8, 9, 9)),
    "dilated convolution": (nn.Conv2d(8, 32, 3, dilation=2), (2, 8, 20, 22), (1, 8, 9, 9)),
    "depthwise convolution": (nn.Conv2d(8, 8, 3, groups=8), (2, 8, 9, 22), (1, 8, 4, 5)),
    "convolution of lines": (nn.Conv1d(8, 16, 5, padding=2), (2, 8, 50), (3, 8, 31)),
    "transposed convolution": (nn.ConvTranspose2d(8, 16, 3, 2, 1), (2, 8, 10, 11), (1, 8, 5, 4)),
    "upsampling": (OfOne(doubled), (2, 4, 6, 5), (2, 4, 3, 7)),
}  # fmt: skip


@pytest.mark.parametrize("name", every(3, ONE_INPUT))
def test_modules_of_one_tensor_agree_with_eager(name):
    module, shape, other = ONE_INPUT[name]
    agree(module, randn(shape), others=[(randn(other),)])


TWO_INPUTS = {
    "broadcasting": (OfTwo(lambda x, y: x * y + y), (5, 7, 130), (7, 1)),
    "maths": (OfTwo(maths), (40, 60), (40, 60)),
    "comparisons": (OfTwo(comparisons), (17, 20), (17, 1)),
    "product": (OfTwo(lambda x, y: x @ y), (100, 70), (70, 130)),
    "product of transposed": (OfTwo(lambda x, y: x.T @ y.T), (70, 100), (130, 70)),
    "batched product": (OfTwo(torch.bmm), (3, 50, 40), (3, 40, 60)),
    "matrix and vector": (OfTwo(lambda x, y: (x @ y, torch.outer(y, y))), (100, 70), (70,)),
    "losses": (OfTwo(losses), (30, 50), (30, 50)),
    "causal attention": (
        OfTwo(lambda x, y: functional.scaled_dot_product_attention(x, y, y, is_causal=True)),
        (2, 4, 24, 16), (2, 4, 24, 16),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", every(3, TWO_INPUTS))
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
def test_modules_of_two_tensors_agree_with_eager(name):
    module, first, second = TWO_INPUTS[name]
    agree(module, randn(first), randn(second))


def test_reductions_of_a_single_element_count_it_once():
    module = OfOne(lambda x: (x.sum(1), x.mean(1, keepdim=True), torch.softmax(x, 1)))
    agree(module, randn(40, 1, 3))
    agree(OfOne(lambda x: x.sum(-1, keepdim=True).sum(-1)), randn(4, 30))


def test_whole_numbers_agree_with_eager():
    agree(OfOne(integers), torch.randint(-50, 50, (13, 9)))


def test_gathers_agree_with_eager():
    places = torch.randint(0, 20, (4, 9))
    module = OfTwo(lambda x, i: (x.gather(1, i), x[:, [0, 2, 1]], torch.index_select(x, 1, i[0])))
    agree(module, randn(4, 20), places)
    agree(nn.Embedding(50, 20), torch.randint(0, 50, (4, 9)))


def test_cross_entropy_agrees_with_eager():
    agree(OfTwo(functional.cross_entropy), randn(40, 20), torch.randint(0, 20, (40,)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_floats_are_accumulated_in_float(dtype):
    module = OfOne(
        lambda x: (x.sum(-1), torch.softmax(x, -1), x @ x.T, functional.layer_norm(x, (640,)))
    )
    agree(module, (randn(20, 640) * 0.2).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_convolutions_of_small_floats_give_small_floats(dtype):
    module = nn.Sequential(nn.Conv2d(8, 16, 3, bias=False), nn.Conv2d(16, 16, 3, groups=16))
    agree(module.to(dtype), randn(2, 8, 12, 12).to(dtype))


def test_multi_head_attention_agrees_with_eager():
    module = nn.MultiheadAttention(32, 4, batch_first=True)
    agree(OfOne(lambda x, m: m(x, x, x, need_weights=False)[0], module), randn(3, 20, 32))


def test_recurrent_cells_agree_with_eager():
    agree(OfTwo(lambda x, h, cell: cell(x, h), nn.GRUCell(24, 32)), randn(9, 24), randn(9, 32))


def test_nan_and_infinity_pass_through_as_in_eager():
    values = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0])
    module = OfOne(
        lambda x: (torch.relu(x), x.clamp(-1, 1), torch.maximum(x, x.flip(0)), torch.isnan(x))
    )
    agree(module, values)


def test_numbers_that_depend_on_sizes_follow_the_sizes():
    module = OfOne(lambda x: x * x.shape[-1] ** -0.5 / x.shape[0] + x.numel())
    agree(module, randn(5, 7), others=[(randn(8, 3),)])
