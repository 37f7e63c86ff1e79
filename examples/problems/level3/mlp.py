"""A perceptron of three layers with layer normalisation."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[rows, inputs] gives [rows, outputs]"""
        result: Tensor = self.layers(x)
        return result


def get_inputs() -> list[Tensor]:
    return [torch.randn(256, 384)]


def get_init_inputs() -> list[object]:
    return [384, 512, 100]
