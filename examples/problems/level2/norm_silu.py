"""Layer normalisation, silu and a residual connection."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, features]"""
        return x + functional.silu(self.norm(x))


def get_inputs() -> list[Tensor]:
    return [torch.randn(1024, 640)]


def get_init_inputs() -> list[object]:
    return [640]
