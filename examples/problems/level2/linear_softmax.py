"""A classifier head: logits, then softmax."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, features] gives [rows, classes]"""
        return torch.softmax(self.head(x), dim=-1)


def get_inputs() -> list[Tensor]:
    return [torch.randn(512, 256)]


def get_init_inputs() -> list[object]:
    return [256, 400]
