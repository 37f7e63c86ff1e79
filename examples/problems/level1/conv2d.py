"""A 3 x 3 convolution."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, height, width] gives [batch, outputs, height, width]"""
        result: Tensor = self.conv(x)
        return result


def get_inputs() -> list[Tensor]:
    return [torch.randn(4, 24, 48, 56)]


def get_init_inputs() -> list[object]:
    return [24, 48]
