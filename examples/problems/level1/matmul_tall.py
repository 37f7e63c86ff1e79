"""A tall matrix times a wide one, with few terms in each sum."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[m, k] by [k, n]"""
        return a @ b


def get_inputs() -> list[Tensor]:
    return [torch.randn(1536, 48), torch.randn(48, 768)]


def get_init_inputs() -> list[object]:
    return []
