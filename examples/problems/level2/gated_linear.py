"""Two linear layers, one gating the other (SwiGLU)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, hidden, bias=False)
        self.gate = nn.Linear(inputs, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, inputs] gives [rows, hidden]"""
        return functional.silu(self.gate(x)) * self.value(x)


def get_inputs() -> list[Tensor]:
    return [torch.randn(256, 320)]


def get_init_inputs() -> list[object]:
    return [320, 512]
