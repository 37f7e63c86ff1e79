"""Layer normalisation with learned scale and shift."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, features]"""
        normalized: Tensor = self.norm(x)
        return normalized


def get_inputs() -> list[Tensor]:
    return [torch.randn(8, 128, 768)]


def get_init_inputs() -> list[object]:
    return [768]
