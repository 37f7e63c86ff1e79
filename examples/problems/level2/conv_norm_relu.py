"""Convolution, batch normalisation, relu."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, height, width] gives [batch, outputs, height / 2, width / 2]"""
        return torch.relu(self.norm(self.conv(x)))


def get_inputs() -> list[Tensor]:
    return [torch.randn(4, 16, 64, 64)]


def get_init_inputs() -> list[object]:
    return [16, 64]
