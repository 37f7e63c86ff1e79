"""Runs a loop whose step needs several kernels: the step compiled once, launched for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.fx import GraphModule

from metalgen.optimize.contender import Order, RegionGraph
from metalgen.optimize.memory_order import laid_out, order_of
from metalgen.optimize.region_plan import RegionPlan, plan_region
from metalgen.optimize.report import Stage
from metalgen.optimize.rolled.recognise import UnrolledLoop
from metalgen.plan.run import Allocate, allocate_uninitialised
from metalgen.proposers.builtin.subgraph import subgraph_kernels
from metalgen.proposers.builtin.unrolled import LoopBody


@dataclass(frozen=True)
class SteppedRegion:
    """A loop by its step's plan; `arguments`: the region's placeholders, `outputs`: its results.

    An output is the joined results (None) or the last value of the state at that position.
    """

    body: LoopBody
    step: RegionPlan
    arguments: tuple[str, ...]
    outputs: tuple[int | None, ...]
    orders: tuple[Order, ...]
    name: str = "stepped"

    @property
    def content(self) -> str:
        """A hash of the step and what surrounds it."""
        loop = f"{self.step.content} {self.body.steps} {self.body.slices} {self.outputs}"
        return hashlib.sha256(loop.encode()).hexdigest()[:16]

    @property
    def kernels(self) -> int:
        """Launches of all steps."""
        return self.step.kernels * self.body.steps

    @property
    def stages(self) -> Mapping[Stage, str]:
        """The step's texts."""
        return self.step.stages

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out in memory as ATen lays them out."""
        return self.run_in(allocate_uninitialised, arguments)

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own."""
        body, given = self.body, dict(zip(self.arguments, arguments, strict=True))
        states: Sequence[object] = [given[state.first.name] for state in body.states]
        joined: Tensor | None = None
        for t in range(body.steps):
            result, *states = self.step.run(self._of_step(given, states, t))
            if joined is None:
                joined = self._joined(allocate, given, result)
            place = body.steps - 1 - t if body.is_backwards else t + len(body.peeled)
            _entry(joined, body.dim, place, result).copy_(result)
        assert joined is not None
        results = (
            joined if at is None else _kept(allocate, f"state{at}", states[at])
            for at in self.outputs
        )
        return tuple(
            laid_out(value, order, False) for value, order in zip(results, self.orders, strict=True)
        )

    def _of_step(
        self, given: Mapping[str, object], states: Sequence[object], t: int
    ) -> list[object]:
        values = dict(given)
        for state, value in zip(self.body.states, states, strict=True):
            values[state.before.name] = value
        for each in self.body.slices:
            source, place = given[each.source], each.start + each.step * t
            assert isinstance(source, Tensor)
            part = source.narrow(each.dim, place, 1)
            values[each.name] = (part if each.keeps else part.squeeze(each.dim)).contiguous()
        return [values[name] for name in self.step.placeholders]

    def _joined(self, allocate: Allocate, given: Mapping[str, object], result: Tensor) -> Tensor:
        shape = list(result.shape)
        shape[self.body.dim] *= self.body.steps + len(self.body.peeled)
        joined = allocate("joined", tuple(shape), result.dtype, result.device)
        for i, node in enumerate(self.body.peeled):
            entry = given[node.name]
            assert isinstance(entry, Tensor)
            _entry(joined, self.body.dim, i, entry).copy_(entry)
        return joined


def _entry(joined: Tensor, dim: int, place: int, entry: Tensor) -> Tensor:
    size = entry.shape[dim]
    return joined.narrow(dim, place * size, size)


def _kept(allocate: Allocate, name: str, value: object) -> Tensor:
    assert isinstance(value, Tensor)
    kept = allocate(name, tuple(value.shape), value.dtype, value.device)
    kept.copy_(value)
    return kept


def stepped(region: RegionGraph, loop: UnrolledLoop, body: LoopBody) -> SteppedRegion:
    """The loop by its step's templates; MetalgenError where there are none."""
    body.graph.output((body.result, *(state.after for state in body.states)))
    step = RegionGraph(GraphModule(nn.Module(), body.graph), region.parameters, region.device)
    lasts = {state.last: i for i, state in enumerate(loop.states) if state.last is not None}
    outputs = tuple(None if node is loop.joined else lasts[node] for node in region.outputs)
    orders = tuple(order_of(node.meta["val"]) for node in region.outputs)
    names = tuple(node.name for node in region.placeholders)
    return SteppedRegion(body, plan_region(step, "stepped"), names, outputs, orders)


def check_step(body: LoopBody) -> None:
    """Raise UnsupportedError where no templates fit the step; nothing is compiled."""
    body.graph.output((body.result, *(state.after for state in body.states)))
    subgraph_kernels(body.graph, ())
