"""A layer applied until its mean is small: the number of steps depends on the data."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, features]"""
        for _ in range(16):
            x = torch.tanh(self.layer(x))
            if x.abs().mean().item() < 0.05:
                break
        return x


def get_inputs() -> list[Tensor]:
    return [torch.randn(64, 96)]


def get_init_inputs() -> list[object]:
    return [96]
