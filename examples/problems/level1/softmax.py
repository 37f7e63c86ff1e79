"""Softmax over rows."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """[rows, columns]"""
        return torch.softmax(x, dim=-1)


def get_inputs() -> list[Tensor]:
    return [torch.randn(512, 2048)]


def get_init_inputs() -> list[object]:
    return []
