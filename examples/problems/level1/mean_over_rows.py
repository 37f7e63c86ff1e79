"""The mean over the first of two dimensions: columns are reduced."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """[rows, columns] gives [columns]"""
        return x.mean(dim=0)


def get_inputs() -> list[Tensor]:
    return [torch.randn(1024, 1200)]


def get_init_inputs() -> list[object]:
    return []
