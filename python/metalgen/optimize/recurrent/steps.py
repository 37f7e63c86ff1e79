"""Offers recurrent regions as one product for each layer's inputs and a kernel for each step."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Graph, Node

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DTYPES
from metalgen.ops.recurrent import Kind, Layer, Sequences, empty_cell, layers_of, run_layer
from metalgen.optimize.contender import Offer, RegionGraph
from metalgen.optimize.recurrent.operator import RECURRENT
from metalgen.optimize.report import Stage
from metalgen.plan.run import Allocate, allocate_uninitialised


def find_recurrent(graph: Graph) -> list[set[Node]]:
    """Each recurrent call with what takes its results apart."""
    calls = graph.find_nodes(op="call_function", target=RECURRENT)
    return [{call, *call.users} for call in calls if _is_possible(call)]


def _is_possible(call: Node) -> bool:
    x: Tensor = call.args[0].meta["val"]  # type: ignore[union-attr]
    biases, layers, bidirectional = call.args[4:7]
    each = (4 if biases else 2) * (2 if bidirectional else 1)
    has_projections = len(call.args[2]) != each * layers  # type: ignore[arg-type, operator]
    is_taken_apart = all(user.target is operator.getitem for user in call.users)
    return x.dtype in DTYPES and is_taken_apart and not has_projections


def steps(region: RegionGraph) -> Iterator[Offer]:
    """One way, for a region that is a recurrent call."""
    found = find_recurrent(region.module.graph)
    calls = {node for node in region.module.graph.nodes if node.op == "call_function"}
    if len(found) == 1 and calls <= found[0]:
        (call,) = region.module.graph.find_nodes(op="call_function", target=RECURRENT)
        yield Offer("steps", lambda: _made(region, call))


@dataclass(frozen=True)
class Recurrence:
    """What a recurrent call is, apart from its tensors."""

    kind: Kind
    has_biases: bool
    layers: int
    bidirectional: bool
    batch_first: bool

    @property
    def directions(self) -> int:
        """1, or 2 where sequences are read backwards too."""
        return 2 if self.bidirectional else 1


@dataclass(frozen=True)
class StepsRegion:
    """A recurrent call; `positions`: where its tensors are among the region's arguments."""

    recurrence: Recurrence
    positions: tuple[int, tuple[int, ...], tuple[int, ...]]
    results: tuple[int, ...]  # which of the call's results the region returns
    content: str
    stages: Mapping[Stage, str]
    kernels: int
    name: str = "steps"

    def run(self, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """The region's outputs, laid out in memory as ATen lays them out."""
        return self.run_in(allocate_uninitialised, arguments)

    def run_in(self, allocate: Allocate, arguments: Sequence[object]) -> tuple[Tensor, ...]:
        """As `run`, in memory of somebody's own."""
        given: Any = arguments
        at, states, weights = self.positions
        call = _Call(
            self.recurrence, given[at], [given[i] for i in states], [given[i] for i in weights]
        )
        results = call.run(allocate)
        return tuple(results[i] for i in self.results)


@dataclass(frozen=True)
class _Call:
    recurrence: Recurrence
    x: Tensor
    state: Sequence[Tensor]
    weights: Sequence[Tensor]

    def run(self, allocate: Allocate) -> list[Tensor]:
        """Outputs of the last layer, then the states after the last step."""
        own = self.recurrence
        layers = layers_of(self.weights, own.has_biases, own.layers * own.directions)
        x = self.x.transpose(0, 1) if own.batch_first else self.x
        if x.shape[0] == 0:
            raise LaunchError("recurrent: expected sequences of one step or more, found none")
        after = [
            allocate(f"state{i}", tuple(state.shape), state.dtype, state.device)
            for i, state in enumerate(self.state)
        ]
        for i in range(own.layers):
            y = self._memory(allocate if i == own.layers - 1 else allocate_uninitialised)
            for direction in range(own.directions):
                self._layer(layers, i * own.directions + direction, x, y, after)
            x = y
        return [x.transpose(0, 1) if own.batch_first else x, *after]

    def _layer(
        self, layers: Sequence[Layer], at: int, x: Tensor, y: Tensor, after: Sequence[Tensor]
    ) -> None:
        """One direction of one layer, into its part of y; `at` counts both."""
        size = self.state[0].shape[-1]
        direction = at % self.recurrence.directions
        cell = empty_cell(self.state[1][at]) if self.recurrence.kind == "lstm" else None
        part = y[..., direction * size : (direction + 1) * size]
        given = Sequences(x, part, self.state[0][at], cell)
        last = run_layer(self.recurrence.kind, layers[at], given, backwards=direction == 1)
        after[0][at].copy_(last)
        if cell is not None:
            after[1][at].copy_(cell)

    def _memory(self, allocate: Allocate) -> Tensor:
        """A layer's outputs, (length, batch, elements)."""
        batch, length = self.x.shape[:2]
        if not self.recurrence.batch_first:
            batch, length = length, batch
        size = self.state[0].shape[-1] * self.recurrence.directions
        return allocate("output", (length, batch, size), self.x.dtype, self.x.device)


def _made(region: RegionGraph, call: Node) -> StepsRegion:
    x, states, weights, *options = call.args
    places = {node: i for i, node in enumerate(region.placeholders)}
    recurrence = Recurrence(*options)  # type: ignore[arg-type]
    positions: Any = (
        places[x],  # type: ignore[index]
        tuple(places[state] for state in states),  # type: ignore[index, union-attr]
        tuple(places[weight] for weight in weights),  # type: ignore[index, union-attr]
    )
    results: Any = tuple(node.args[1] for node in region.outputs)
    plan = f"{recurrence}\nfor each layer and direction: product of all inputs, then each step"
    content = hashlib.sha256(f"{plan} {positions} {results}".encode()).hexdigest()
    texts: dict[Stage, str] = {"graph": str(region.module.graph).strip(), "plan": plan}
    value: Tensor = x.meta["val"]  # type: ignore[union-attr]
    length = value.shape[1 if recurrence.batch_first else 0]
    known = length if isinstance(length, int) else int(length.node.hint)
    launches = recurrence.layers * recurrence.directions * (1 + known)
    return StepsRegion(recurrence, positions, results, content, texts, launches)
