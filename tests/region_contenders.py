"""Regions for tests, and a contender that needs no kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from metalgen.optimize.canonical import renamed
from metalgen.optimize.contender import RegionGraph


def captured(function, *inputs: Tensor, mode: str = "symbolic") -> RegionGraph:
    """`function`, which returns a tuple, as a region with open sizes."""
    return renamed(make_fx(function, tracing_mode=mode)(*inputs), ())


@dataclass
class InAten:
    """A contender that calls ATen; `check_error` is added in the check alone."""

    module: GraphModule
    name: str = "in aten"
    content: str = "1"
    kernels: int = 1
    check_error: float = 0.0
    stages: dict[str, str] = field(default_factory=dict)
    runs: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        self.runs.append(tuple(arguments[0].shape))
        return tuple(self.module(*arguments))

    def run_in(self, allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        results = []
        for i, value in enumerate(self.module(*arguments)):
            memory = allocate(f"y{i}", tuple(value.shape), value.dtype, value.device)
            results.append(memory.copy_(value + self.check_error))
        return tuple(results)
