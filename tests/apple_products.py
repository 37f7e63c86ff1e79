"""Operands, masks and tolerances for Apple's products of matrices and vectors."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 1e-1}
BLOCK = 32  # rows and columns that one entry of a mask stands for


def some(dtype: torch.dtype, *shape: int) -> Tensor:
    return (torch.randn(shape) / shape[-1] ** 0.25).to(dtype)


def product(a: Tensor, b: Tensor) -> Tensor:
    return (a.float() @ b.float()).to(a.dtype)


def masks(dtype: torch.dtype, *shape: int) -> Tensor:
    """Truth values, or numbers of which some are zero."""
    chosen = torch.rand(shape) > 0.3
    return chosen if dtype == torch.bool else (chosen * (1 + torch.rand(shape))).to(dtype)


def spread(mask: Tensor) -> Tensor:
    """The factor of every element."""
    for axis in range(mask.ndim):
        mask = mask.repeat_interleave(BLOCK, axis)
    return mask.float()
