"""A product, scaled, clamped and added to a residual."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        """x [m, k], weight [k, n], residual [m, n]"""
        return torch.clamp((x @ weight) * self.scale, -1.0, 1.0) + residual


def get_inputs() -> list[Tensor]:
    return [torch.randn(384, 320), torch.randn(320, 512), torch.randn(384, 512)]


def get_init_inputs() -> list[object]:
    return [0.125]
