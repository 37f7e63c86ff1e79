"""A selective state-space scan, one step after another along the sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, features: int, states: int) -> None:
        super().__init__()
        self.to_step = nn.Linear(features, features)
        self.to_write = nn.Linear(features, states)
        self.to_read = nn.Linear(features, states)
        self.log_decay = nn.Parameter(torch.rand(features, states))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length, features]"""
        step = functional.softplus(self.to_step(x)).unsqueeze(-1)
        decay = torch.exp(-step * self.log_decay.exp())
        written = step * self.to_write(x).unsqueeze(-2) * x.unsqueeze(-1)
        state = torch.zeros_like(written[:, 0])
        results = []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + written[:, t]
            results.append((state * self.to_read(x)[:, t].unsqueeze(-2)).sum(dim=-1))
        return torch.stack(results, dim=1)


def get_inputs() -> list[Tensor]:
    return [torch.randn(2, 24, 64)]


def get_init_inputs() -> list[object]:
    return [64, 8]
