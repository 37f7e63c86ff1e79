"""Kernels for a loop over a sequence: its body as a graph of one step, run by one kernel."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from torch.fx import Graph, Node

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.assemble import Assembly, assembled
from metalgen.proposers.builtin.capture import Capture, SizeError
from metalgen.proposers.builtin.graph import view
from metalgen.proposers.builtin.indexing import Axis, Index
from metalgen.proposers.builtin.loop_form import LoopForm
from metalgen.proposers.builtin.lower import lower
from metalgen.proposers.builtin.recurrence import Carried, Joined, recurrence_form
from metalgen.proposers.builtin.subgraph import stored
from metalgen.proposers.builtin.tensors import Idx, Stored, Tensor
from metalgen.proposers.builtin.variants import VARIANTS


@dataclass(frozen=True)
class BodySlice:
    """The placeholder `name` is `source` at `start + step * t` along `dim`, which may remain."""

    name: str
    source: str
    dim: int
    start: int
    step: int
    keeps: bool


@dataclass(frozen=True)
class BodyState:
    """`first`, `before` (a placeholder) and `after` in the body; `last` is the plan's output."""

    first: Node
    before: Node
    after: Node
    last: str | None


@dataclass(frozen=True)
class LoopBody:
    """One step of a loop of `steps`; `joined` is the node that its results make up, along `dim`."""

    graph: Graph
    steps: int
    result: Node
    slices: tuple[BodySlice, ...]
    states: tuple[BodyState, ...]
    peeled: tuple[Node, ...]
    joined: Node
    dim: int
    is_backwards: bool


def loop_kernels(body: LoopBody, parameters: Container[str], outputs: Sequence[str]) -> Assembly:
    """One kernel; raises UnsupportedError where threads would need each other's state."""
    try:
        with VARIANTS[0].applied():
            return assembled(_form(body, parameters, outputs))
    except SizeError as error:
        raise UnsupportedError(f"not supported: {error}") from error


def _form(body: LoopBody, parameters: Container[str], outputs: Sequence[str]) -> LoopForm:
    capture = stored(body.graph, parameters)
    steps = Axis("t", Index.of(body.steps))
    for each in body.slices:
        capture.tensors[each.name] = _sliced(capture, each, steps)
    states = body.states
    wanted = [body.result, *(s.first for s in states), *(s.after for s in states), *body.peeled]
    capture.outputs = wanted
    result, *rest = lower(capture)
    firsts, afters = rest[: len(states)], rest[len(states) : 2 * len(states)]
    carried = [
        Carried(first, _before(capture, state), after, state.last)
        for state, first, after in zip(states, firsts, afters, strict=True)
    ]
    joined = Joined(
        body.joined.name,
        capture.shape_of(body.joined),
        body.joined.meta["val"].dtype,
        result,
        body.dim,
        tuple(rest[2 * len(states) :]),
        body.is_backwards,
    )
    return recurrence_form(steps, joined, carried, outputs)


def _before(capture: Capture, state: BodyState) -> Stored:
    tensor = capture.tensors[state.before.name]
    assert isinstance(tensor, Stored)
    return tensor


def _sliced(capture: Capture, each: BodySlice, steps: Axis) -> Tensor:
    source = capture.tensors[each.source]
    assert isinstance(source, Tensor)
    place = Index.of(steps) * each.step + each.start
    dim, after = each.dim, each.dim + (1 if each.keeps else 0)

    def transform(index: Idx) -> Idx:
        return (*index[:dim], place, *index[after:])

    shape = source.shape
    kept = (Index.of(1),) if each.keeps else ()
    return view(source, (*shape[:dim], *kept, *shape[dim + 1 :]), transform, each.name)
