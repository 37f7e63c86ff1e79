"""A square matrix product."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[n, n] by [n, n]"""
        return a @ b


def get_inputs() -> list[Tensor]:
    return [torch.randn(512, 512), torch.randn(512, 512)]


def get_init_inputs() -> list[object]:
    return []
