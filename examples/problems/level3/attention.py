"""Multi-head self-attention with separate projections."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(features, 3 * features)
        self.project_out = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, features]"""
        batch, length, features = x.shape
        parts = self.project_in(x).view(batch, length, 3, self.heads, features // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * (features // self.heads) ** -0.5
        mixed = torch.softmax(scores, dim=-1) @ value
        result: Tensor = self.project_out(mixed.transpose(1, 2).reshape(batch, length, features))
        return result


def get_inputs() -> list[Tensor]:
    return [torch.randn(4, 96, 256)]


def get_init_inputs() -> list[object]:
    return [256, 8]
