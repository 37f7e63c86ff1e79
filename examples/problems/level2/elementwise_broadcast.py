"""A chain of elementwise steps whose operands broadcast along different dimensions."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, mask: Tensor) -> Tensor:
        """x [batch, rows, columns], scale [columns], shift [rows, 1], mask [batch, 1, columns]"""
        y = torch.tanh(x * scale + shift)
        y = torch.where(mask > 0, y, torch.zeros_like(y))
        return y * torch.sigmoid(x) - 0.25 * x.abs().sqrt()


def get_inputs() -> list[Tensor]:
    return [
        torch.randn(16, 128, 384),
        torch.randn(384),
        torch.randn(128, 1),
        torch.randn(16, 1, 384),
    ]


def get_init_inputs() -> list[object]:
    return []
