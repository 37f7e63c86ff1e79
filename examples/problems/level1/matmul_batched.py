"""A batch of matrix products."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[b, m, k] by [b, k, n]"""
        return torch.bmm(a, b)


def get_inputs() -> list[Tensor]:
    return [torch.randn(12, 128, 96), torch.randn(12, 96, 160)]


def get_init_inputs() -> list[object]:
    return []
