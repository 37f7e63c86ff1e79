"""Small problems in KernelBench's format, and candidates for them, that several tests share."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

METAL = "#include <metal_stdlib>\nusing namespace metal;\n"

ADD = """
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, a, b):
            return a + b

    def get_inputs():
        return [torch.rand(16, 48), torch.rand(16, 48)]

    def get_init_inputs():
        return []
"""

SCALE = """
    import torch
    from torch import nn

    class Model(nn.Module):
        '''y = x * weight + bias, by columns.'''
        def __init__(self, columns):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(columns))
            self.bias = nn.Parameter(torch.zeros(columns))

        def forward(self, x):
            return x * self.weight + self.bias

    def get_inputs():
        return [torch.rand(6, 10)]

    def get_init_inputs():
        return [10]
"""


def write_problem(folder: Path, text: str, name: str = "problem.py") -> Path:
    """A problem file with the given text, its common indentation removed."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def reply(source: str, plan: dict[str, object]) -> str:
    """A reply as a well-behaved model gives it."""
    return f"```metal\n{METAL}{source}\n```\n\n```json\n{json.dumps(plan)}\n```\n"


ADD_SIGNATURE = (
    "kernel void add(device const float* a, device const float* b, device float* y,"
    " constant uint& n, uint i [[thread_position_in_grid]])"
)


def add_plan(**changes: object) -> dict[str, object]:
    """A plan that launches `add` with one thread per element; `changes` go into its step."""
    step = {
        "kernel": "add",
        "args": ["a", "b", "y", {"uint": "a.numel()"}],
        "threads": "a.numel()",
        "group_size": 64,
        **changes,
    }
    return {"outputs": {"y": {"dtype": "a.dtype", "shape": "a.shape"}}, "steps": [step]}


def add_reply(body: str = "y[i] = a[i] + b[i];", **changes: object) -> str:
    """A candidate for ADD whose kernel does `body`."""
    return reply(f"{ADD_SIGNATURE} {{ {body} }}", add_plan(**changes))
