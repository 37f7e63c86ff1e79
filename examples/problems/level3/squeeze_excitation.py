"""Channels weighted by a small network that sees their means."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, squeezed)
        self.up = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width]"""
        weight = self.up(torch.relu(self.down(x.mean(dim=(2, 3)))))
        return x * torch.sigmoid(weight)[:, :, None, None]


def get_inputs() -> list[Tensor]:
    return [torch.randn(8, 64, 40, 40)]


def get_init_inputs() -> list[object]:
    return [64, 16]
