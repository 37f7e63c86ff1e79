"""Apple's gated delta rule, step by step and in chunks, and its gradient; ours beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels
from torch import Tensor

NAMES = {torch.float32: "float", torch.float16: "float16_t", torch.bfloat16: "bfloat16_t"}
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
WIDTH = 128  # of keys and of values
STEPS = 11  # no multiple of a chunk


@dataclass(frozen=True)
class Problem:
    """Queries, keys and values (steps, heads, width), decays and weights, the state before."""

    q: Tensor
    k: Tensor
    v: Tensor
    decay: Tensor
    weight: Tensor
    state: Tensor

    @classmethod
    def random(cls, dtype: torch.dtype, shared: int, heads: int) -> Problem:
        """`heads` of values, of which several may read one head of queries and keys."""
        q, k = (torch.randn(STEPS, shared, WIDTH) / WIDTH**0.5 for _ in range(2))
        v = torch.randn(STEPS, heads, WIDTH)
        decay = torch.rand(STEPS, heads) * 0.3 + 0.7
        weight = torch.rand(STEPS, heads)
        state = torch.randn(heads, WIDTH, WIDTH) / 4
        return cls(*(x.to(dtype) for x in (q, k, v, decay, weight)), state)

    def inputs(self) -> list[Tensor]:
        return [self.q, self.k, self.v, self.decay, self.weight, self.state]


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, weight: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Outputs, the state after, and the states before every step: Yang et al. (2024), section 3."""
    repeats = v.shape[1] // k.shape[1]
    q, k = (x.repeat_interleave(repeats, 1) for x in (q, k))
    outputs, before = [], []
    for t in range(STEPS):
        before.append(state)
        state = state * decay[t, :, None, None]
        held = (state * k[t, :, None]).sum(-1)
        delta = (v[t] - held) * weight[t, :, None]
        state = state + delta[..., None] * k[t, :, None]
        outputs.append((state * q[t, :, None]).sum(-1))
    return torch.stack(outputs), state, before


def forward(dtype: torch.dtype, heads: tuple[int, int], form: str, kept: int) -> Launch:
    problem = Problem.random(dtype, *heads)
    y, after, before = delta_rule(*(x.float() for x in problem.inputs()))
    given = {0: problem.q, 1: problem.k, 2: problem.v, 3: problem.state}
    given |= {4: problem.decay, 5: problem.weight, 8: STEPS}
    expected = {6: y.to(dtype), 7: after}
    if form == "seq":
        expected[9] = torch.stack(before[::kept], 1)
    return Launch(
        given,
        expected,
        threads=(32, WIDTH if form == "seq" else WIDTH // 8, heads[1]),
        group_size=(32, 4, 1),
        constants={"save_state": True} if form == "seq" else {},
        tolerance=TOLERANCE[dtype],
    )


def backward(dtype: torch.dtype, heads: tuple[int, int], kept: int) -> Launch:
    problem = Problem.random(dtype, *heads)
    leaves = [x.float().requires_grad_() for x in problem.inputs()]
    y, after, before = delta_rule(*leaves)
    of_y, of_state = torch.randn(y.shape).to(dtype), torch.randn(after.shape)
    torch.autograd.backward([y, after], [of_y.float(), of_state])
    q, k, v, decay, weight, state = (leaf.grad for leaf in leaves)
    given = dict(enumerate([problem.q, problem.k, problem.v, problem.decay, problem.weight]))
    given |= {5: of_y, 6: of_state, 7: torch.stack(before[::kept], 1).detach(), 8: STEPS}
    expected = {9: q, 10: k, 11: v, 12: decay, 13: weight, 14: state}
    return Launch(
        given,
        expected,
        threads=(32, WIDTH, heads[1]),
        group_size=(32, 4, 1),
        tolerance=2e-4,
        held={index: torch.zeros_like(x) for index, x in expected.items()},
    )


def forward_cases() -> dict[str, Case]:
    cases = {}
    for dtype in FLOATS:
        for heads in ((16, 16), (16, 32)):
            for form, template, kept in (
                ("seq_gated_delta", "gated_delta_seq", 4),
                ("gated_delta_fused_chunk", "gated_delta_fused_chunk", 8),
            ):
                sizes = f"{WIDTH}_{WIDTH}_{heads[0]}_{heads[1]}_{kept}"
                cases[f"{form}_{NAMES[dtype]}_{sizes}"] = Case(
                    f"{template}<{METAL[dtype]}, {sizes.replace('_', ', ')}>",
                    lambda d=dtype, h=heads, f=form[:3], k=kept: forward(d, h, f, k),
                )
    return cases


def backward_cases() -> dict[str, Case]:
    """Atomic sums of floats come in any order, hence within rounding."""
    cases = {}
    for dtype in FLOATS:
        for heads, kept in (((16, 16), 8), ((16, 32), 1)):
            sizes = f"{WIDTH}_{WIDTH}_{heads[0]}_{heads[1]}_{kept}"
            cases[f"seq_gated_delta_vjp_{NAMES[dtype]}_{sizes}"] = Case(
                f"gated_delta_vjp_seq<{METAL[dtype]}, {sizes.replace('_', ', ')}>",
                lambda d=dtype, h=heads, k=kept: backward(d, h, k),
                same_bits=False,
            )
    return cases


FAMILIES = {
    "forward": Family(["utils.h", "gated_delta_update.h"], forward_cases(), one_in=12),
    "backward": Family(["utils.h", "gated_delta_update_vjp.h"], backward_cases(), one_in=6),
}


@kernels(FAMILIES)
def test_apples_kernel_follows_the_rule_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)
