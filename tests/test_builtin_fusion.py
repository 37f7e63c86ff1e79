"""Which operators share a kernel, and which views cost none."""

from __future__ import annotations

import pytest
import torch
from builtin_runs import OfOne, OfTwo, reply_for
from torch import nn
from torch.nn import functional

from metalgen.generation.candidate import parse_reply


def kernels(module: nn.Module, *inputs: object) -> list[str]:
    plan = parse_reply(reply_for(module, *inputs)).plan
    return [step.kernel for step in plan.steps]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: functional.gelu(x * y + 1).clamp(-1, 1) / (y.abs() + 1),
        lambda x, y: torch.softmax(x * y, dim=-1),
        lambda x, y: functional.layer_norm(x + y, (24,)),
        lambda x, y: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * y,
        lambda x, y: torch.cat([x, x * y], dim=1),
        lambda x, y: x.transpose(1, 2).reshape(x.shape[0], -1) + 1,
        lambda x, y: torch.logsumexp(x + y, dim=-1),
        lambda x, y: functional.normalize(x * y, dim=-1),
        lambda x, y: x.var(dim=-1, keepdim=True) + y,
    ],
)
def test_a_chain_over_rows_is_one_kernel(function):
    assert len(kernels(OfTwo(function), torch.randn(6, 8, 24), torch.randn(24))) == 1


def test_a_product_takes_in_bias_activation_and_residual():
    module = OfTwo(lambda x, y: functional.silu(x @ y * 0.5) + x)
    assert len(kernels(module, torch.randn(40, 32), torch.randn(32, 32))) == 1


def test_a_linear_layer_packs_its_weight_once():
    plan = parse_reply(reply_for(nn.Linear(32, 48), torch.randn(20, 32))).plan
    assert [(step.kernel, step.once) for step in plan.steps] == [
        ("pack", True),
        ("matmul_bias", False),
    ]


def test_heads_are_split_and_joined_by_the_products_themselves():
    def attention(x: torch.Tensor) -> torch.Tensor:
        heads = x.view(x.shape[0], x.shape[1], 4, 8).transpose(1, 2)
        mixed = torch.softmax(heads @ heads.transpose(-2, -1), dim=-1) @ heads
        return mixed.transpose(1, 2).reshape(x.shape)

    assert len(kernels(OfOne(attention), torch.randn(2, 16, 32))) == 3


def test_group_normalisation_with_its_scale_is_one_kernel():
    assert len(kernels(nn.GroupNorm(4, 16), torch.randn(3, 16, 9, 7))) == 1


def test_a_long_reduction_is_shared_by_many_threadgroups():
    module = OfOne(lambda x: x.sum())
    plan = parse_reply(reply_for(module, torch.randn(700, 400))).plan
    assert [step.kernel for step in plan.steps] == ["sum_partial", "sum"]


def test_a_sum_of_everything_does_not_draw_a_whole_tensor_into_its_threadgroup():
    module = OfOne(lambda x: x / x.sum())
    assert len(kernels(module, torch.randn(700, 400))) == 3


def test_results_used_twice_are_computed_once_where_that_is_dear():
    module = OfOne(lambda x: (lambda y: (y.sum(0), y.sum(1)))(functional.gelu(x)))
    assert len(kernels(module, torch.randn(64, 96))) == 3


def test_many_small_tensors_are_joined_within_metal_s_limit_of_buffers():
    class Joins(nn.Module):
        def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
            return torch.cat([x * 2 for x in xs], dim=0)

    plan = parse_reply(reply_for(Joins(), [torch.randn(3) for _ in range(20)])).plan
    assert max(len(step.args) for step in plan.steps) <= 31
