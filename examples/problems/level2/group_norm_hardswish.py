"""Group normalisation, hardswish and a scale for each channel."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width]"""
        return functional.hardswish(self.norm(x)) * self.scale


def get_inputs() -> list[Tensor]:
    return [torch.randn(8, 32, 40, 44)]


def get_init_inputs() -> list[object]:
    return [8, 32]
