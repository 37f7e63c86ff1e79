"""One step of a gated recurrent unit, written out."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(inputs, 3 * hidden)
        self.from_hidden = nn.Linear(hidden, 3 * hidden)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """x [batch, inputs], hidden [batch, hidden] gives the next hidden state"""
        reset_x, update_x, new_x = self.from_input(x).chunk(3, dim=-1)
        reset_h, update_h, new_h = self.from_hidden(hidden).chunk(3, dim=-1)
        reset = torch.sigmoid(reset_x + reset_h)
        update = torch.sigmoid(update_x + update_h)
        new = torch.tanh(new_x + reset * new_h)
        return new + update * (hidden - new)


def get_inputs() -> list[Tensor]:
    return [torch.randn(128, 160), torch.randn(128, 192)]


def get_init_inputs() -> list[object]:
    return [160, 192]
