"""Apple's cross entropy, its gradient and its dot product, and ours beside them."""

from __future__ import annotations

import torch
from apple_cases import FLOATS, METAL, Case, Family, Launch, kernels, named
from torch import Tensor

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
ROWS, COLUMNS = 3, 300


def logits(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of them, the right column of each (the last one from the end), and the losses."""
    x = (2 * torch.randn(ROWS, COLUMNS)).to(dtype)
    targets = torch.tensor([7, 299, -300], dtype=torch.int32)
    right = targets.long() % COLUMNS
    losses = torch.nn.functional.cross_entropy(x.float(), right, reduction="none")
    return x, targets, losses


def cross_entropy(dtype: torch.dtype) -> Launch:
    x, targets, losses = logits(dtype)
    return Launch(
        {0: x, 1: targets, 3: COLUMNS}, {2: losses}, groups=ROWS, group_size=64, tolerance=1e-5
    )


def gradient_of_cross_entropy(dtype: torch.dtype) -> Launch:
    x, targets, losses = logits(dtype)
    upstream = torch.rand(ROWS)
    leaf = x.float().requires_grad_()
    right = targets.long() % COLUMNS
    torch.nn.functional.cross_entropy(leaf, right, reduction="none").backward(upstream)
    return Launch(
        {0: x, 1: targets, 2: losses, 3: upstream, 5: COLUMNS},
        {4: leaf.grad.to(dtype)},
        groups=ROWS,
        group_size=64,
        tolerance=TOLERANCE[dtype],
    )


PART = 512 * 32  # numbers that a threadgroup multiplies


def dot_product(dtype: torch.dtype) -> Launch:
    """One full threadgroup and one that ends amidst a vector."""
    size = PART + 3001
    a, b = torch.randn(size).to(dtype), torch.randn(size).to(dtype)
    sums = (a.double() * b.double()).split(PART)
    return Launch(
        {0: a, 1: b, 3: size},
        {2: torch.stack([part.sum() for part in sums]).float()},
        groups=2,
        group_size=512,
        tolerance=1e-4,
    )


FAMILIES = {
    "cross_entropy": Family(
        ["utils.h", "cross_entropy.h"],
        {
            f"{name}_{named(dtype)}": Case(
                f"{name}<{METAL[dtype]}>", lambda d=dtype, f=launch: f(d)
            )
            for dtype in FLOATS
            for name, launch in (
                ("cross_entropy", cross_entropy),
                ("cross_entropy_vjp", gradient_of_cross_entropy),
            )
        },
        one_in=6,
    ),
    "dot": Family(
        ["utils.h", "dot.h"],
        {
            f"dot_product_{named(dtype)}_it32_tg512_sg16": Case(
                f"dot_product<{METAL[dtype]}, 32, 512, 16>",
                lambda d=dtype: dot_product(d),
                same_bits=dtype != torch.float32,  # whose products may be fused with the sums
            )
            for dtype in FLOATS
        },
        one_in=3,
    ),
}


@kernels(FAMILIES)
def test_apples_kernel_computes_what_pytorch_does_and_ours_the_same(family, kernel):
    FAMILIES[family].check(kernel)
