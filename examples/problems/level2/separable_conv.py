"""A depthwise convolution, then a pointwise one, then silu."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels)
        self.pointwise = nn.Conv2d(channels, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] gives [batch, outputs, height, width]"""
        return functional.silu(self.pointwise(self.depthwise(x)))


def get_inputs() -> list[Tensor]:
    return [torch.randn(4, 32, 40, 40)]


def get_init_inputs() -> list[object]:
    return [32, 64]
