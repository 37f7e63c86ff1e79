"""A mixer block: perceptrons across tokens, then across channels."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mix_tokens = nn.Sequential(
            nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens)
        )
        self.norm2 = nn.LayerNorm(channels)
        self.mix_channels = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, channels]"""
        x = x + self.mix_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        result: Tensor = x + self.mix_channels(self.norm2(x))
        return result


def get_inputs() -> list[Tensor]:
    return [torch.randn(4, 64, 128)]


def get_init_inputs() -> list[object]:
    return [64, 128]
