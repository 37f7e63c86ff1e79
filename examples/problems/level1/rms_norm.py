"""Root mean square normalisation."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, features]"""
        mean_square = x.pow(2).mean(dim=-1, keepdim=True)
        return x * torch.rsqrt(mean_square + self.eps) * self.scale


def get_inputs() -> list[Tensor]:
    return [torch.randn(8, 128, 640)]


def get_init_inputs() -> list[object]:
    return [640]
