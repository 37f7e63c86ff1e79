"""A linear layer and gelu."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, inputs] gives [rows, outputs]"""
        return functional.gelu(self.linear(x))


def get_inputs() -> list[Tensor]:
    return [torch.randn(384, 512)]


def get_init_inputs() -> list[object]:
    return [512, 768]
