"""How often each value occurs: the result's size depends on the data."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Whole numbers of any shape give one count for each value that occurs."""
        counts: Tensor = torch.unique(x, return_counts=True)[1]
        return counts


def get_inputs() -> list[Tensor]:
    return [torch.randint(0, 9, (64, 64))]


def get_init_inputs() -> list[object]:
    return []
