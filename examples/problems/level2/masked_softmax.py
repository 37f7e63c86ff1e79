"""Attention scores: scaled, causally masked, softmax."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, scores: Tensor) -> Tensor:
        """[batch, heads, queries, keys]"""
        queries, keys = scores.shape[-2:]
        future = torch.ones(queries, keys, dtype=torch.bool).triu(1)
        return torch.softmax((scores * self.scale).masked_fill(future, float("-inf")), dim=-1)


def get_inputs() -> list[Tensor]:
    return [torch.randn(4, 8, 128, 128)]


def get_init_inputs() -> list[object]:
    return [0.088]
