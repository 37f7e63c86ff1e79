"""Mamba, a language model of selective state spaces (Gu and Dao, "Mamba: Linear-Time ...").

The scan over time is written out as a loop, as a reference implementation has it, or is one call of
`metalgen.ops.selective_scan`, which computes it in parallel; torch.compile captures the first anew
for each length, the second once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

import metalgen


class MambaBlock(nn.Module):
    """Gated, convolved and scanned, around a residual."""

    def __init__(
        self, width: int, state: int = 16, expand: int = 2, kernel: int = 4, parallel: bool = False
    ) -> None:
        super().__init__()
        self.parallel = parallel
        inner = expand * width
        self.rank, self.state = max(1, width // 16), state
        self.norm = nn.RMSNorm(width)
        self.project_in = nn.Linear(width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, kernel, padding=kernel - 1, groups=inner)
        self.select = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.step = nn.Linear(self.rank, inner)
        decay = torch.arange(1, state + 1, dtype=torch.float32).repeat(inner, 1)
        self.log_decay = nn.Parameter(torch.log(decay))
        self.skip = nn.Parameter(torch.ones(inner))
        self.project_out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        inner, gate = self.project_in(self.norm(x)).chunk(2, dim=-1)
        inner = self.convolution(inner.transpose(1, 2))[..., :length].transpose(1, 2)
        return x + self.project_out(self._scan(silu(inner)) * silu(gate))

    def _scan(self, u: Tensor) -> Tensor:
        step, b, c = self.select(u).split([self.rank, self.state, self.state], dim=-1)
        if self.parallel:
            lines = (value.transpose(1, 2) for value in (u, self.step(step), b, c))
            u, step, b, c = lines
            decay = -torch.exp(self.log_decay)
            result, _ = metalgen.ops.selective_scan(
                u, step, decay, b, c, self.skip, delta_softplus=True
            )
            return result.transpose(1, 2)
        step = softplus(self.step(step))
        decay = torch.exp(step.unsqueeze(-1) * -torch.exp(self.log_decay))
        driven = (step * u).unsqueeze(-1) * b.unsqueeze(2)
        hidden = torch.zeros_like(driven[:, 0])
        outputs = []
        for t in range(u.shape[1]):
            hidden = decay[:, t] * hidden + driven[:, t]
            outputs.append((hidden * c[:, t].unsqueeze(1)).sum(-1))
        return torch.stack(outputs, dim=1) + u * self.skip


class Mamba(nn.Module):
    """Token identities to the next token's logits; 24 layers of width 768 are Mamba-130M."""

    def __init__(
        self,
        vocabulary: int = 50280,
        width: int = 768,
        layers: int = 24,
        parallel: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(*(MambaBlock(width, parallel=parallel) for _ in range(layers)))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(tokens))))
