"""A matrix times a vector."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, a: Tensor, x: Tensor) -> Tensor:
        """[m, k] by [k]"""
        return a @ x


def get_inputs() -> list[Tensor]:
    return [torch.randn(2048, 1024), torch.randn(1024)]


def get_init_inputs() -> list[object]:
    return []
