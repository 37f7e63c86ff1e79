"""Overlapping max pooling."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width]"""
        return functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)


def get_inputs() -> list[Tensor]:
    return [torch.randn(8, 32, 64, 64)]


def get_init_inputs() -> list[object]:
    return []
