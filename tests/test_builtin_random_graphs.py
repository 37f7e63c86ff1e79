"""Random graphs of pointwise operators, broadcasts and reductions agree with eager PyTorch."""

from __future__ import annotations

import torch
from builtin_runs import agree
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn


def variance(value: Tensor, dim: int, keepdim: bool) -> Tensor:
    return value.var(dim=dim, keepdim=keepdim, correction=0)


UNARY = [
    torch.tanh,
    torch.sigmoid,
    torch.relu,
    torch.abs,
    torch.neg,
    nn.functional.gelu,
    nn.functional.silu,
    torch.sin,
]
BINARY = [torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum]
REDUCTIONS = [torch.sum, torch.mean, torch.amax, torch.amin, variance, torch.softmax]

# Shrinking would run hundreds of programs; a failing one is short enough to read.
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)

shapes = st.lists(st.integers(2, 40), min_size=1, max_size=4)


class Program(nn.Module):
    """Runs a list of steps on a stack that starts with the inputs."""

    def __init__(self, steps: list[tuple]) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        values = [x, y]
        for kind, function, first, second in self.steps:
            value = values[first % len(values)]
            other = values[second % len(values)]
            if kind == "unary":
                values.append(function(value))
            elif kind == "binary":
                values.append(function(value, other))
            elif function is torch.softmax:
                values.append(function(value, dim=second % value.dim()))
            else:
                values.append(function(value, dim=second % value.dim(), keepdim=True))
        return values[-1]


def step_strategy() -> st.SearchStrategy:
    place = st.integers(0, 9)
    return st.one_of(
        st.tuples(st.just("unary"), st.sampled_from(UNARY), place, place),
        st.tuples(st.just("binary"), st.sampled_from(BINARY), place, place),
        st.tuples(st.just("reduction"), st.sampled_from(REDUCTIONS), place, place),
    )


@settings(max_examples=12, deadline=None, phases=NO_SHRINK, suppress_health_check=list(HealthCheck))
@given(shapes, st.data())
def test_random_programs_agree_with_eager(shape, data):
    broadcast = [data.draw(st.sampled_from([size, 1])) for size in shape]
    steps = data.draw(st.lists(step_strategy(), min_size=1, max_size=7))
    agree(Program(steps), torch.randn(shape), torch.randn(broadcast))
