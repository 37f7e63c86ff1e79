"""Both factors of a product stored transposed."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[k, m] and [n, k] give [m, n]"""
        return a.T @ b.T


def get_inputs() -> list[Tensor]:
    return [torch.randn(320, 400), torch.randn(280, 320)]


def get_init_inputs() -> list[object]:
    return []
