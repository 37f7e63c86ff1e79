"""A Mamba-style block in its matrix form: short convolution, gated decay, masked mixing."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, features: int, states: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(features)
        self.project_in = nn.Linear(features, 2 * features)
        self.conv = nn.Conv1d(features, features, kernel_size=4, padding=3, groups=features)
        self.to_decay = nn.Linear(features, 1)
        self.to_write = nn.Linear(features, states)
        self.to_read = nn.Linear(features, states)
        self.project_out = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, features]; state t = decay t * state (t - 1) + write t * value t"""
        length = x.shape[1]
        value, gate = self.project_in(self.norm(x)).chunk(2, dim=-1)
        value = functional.silu(self.conv(value.transpose(1, 2))[..., :length].transpose(1, 2))
        total = torch.cumsum(-functional.softplus(self.to_decay(value)).squeeze(-1), dim=-1)
        # Row t holds what is left at time t of what each earlier time wrote.
        left = total.unsqueeze(-1) - total.unsqueeze(-2)
        past = torch.ones(length, length, dtype=torch.bool).tril()
        decay = left.masked_fill(~past, float("-inf")).exp()
        mixing = self.to_read(value) @ self.to_write(value).transpose(-2, -1) * decay
        result: Tensor = x + self.project_out((mixing @ value) * functional.silu(gate))
        return result


def get_inputs() -> list[Tensor]:
    return [torch.randn(2, 96, 128)]


def get_init_inputs() -> list[object]:
    return [128, 16]
