"""The loop form of a recurrence: one kernel whose threads keep the state through all steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.division import flatten
from metalgen.proposers.builtin.evaluate import Evaluator, buffer_name
from metalgen.proposers.builtin.expressions import Expr, Load, compute_type
from metalgen.proposers.builtin.indexing import ZERO, Atom, Axis, Index
from metalgen.proposers.builtin.loop_build import given_buffer
from metalgen.proposers.builtin.loop_form import Buffer, LoopForm, LoopNest, Statement
from metalgen.proposers.builtin.materialize import in_order
from metalgen.proposers.builtin.naming import identifier, name_tensors
from metalgen.proposers.builtin.tensors import (
    AxisNames,
    Idx,
    Matmul,
    Reduction,
    Scan,
    Stored,
    Table,
    Tensor,
    base,
    positions,
)

# A thread's part of a state stays in registers.
MOST_LOCAL = 64


@dataclass(frozen=True)
class Carried:
    """A state: `before` stands for it within a step, `after` is what the step makes of it.

    `first` is its value before all steps; with `last` that after them is stored under this name.
    """

    first: Tensor
    before: Stored
    after: Tensor
    last: str | None = None


@dataclass(frozen=True)
class Joined:
    """What steps give, one after the other along `dim` of the output `name`, after `peeled`.

    `value` is one step's, as large along `dim` as each of the peeled.
    """

    name: str
    shape: Idx
    dtype: torch.dtype
    value: Tensor
    dim: int
    peeled: tuple[Tensor, ...]
    is_backwards: bool


def recurrence_form(
    steps: Axis, joined: Joined, states: Sequence[Carried], outputs: Sequence[str]
) -> LoopForm:
    """One nest; UnsupportedError where a step's threads would need each other's state."""
    return _Builder(steps, joined, states).form(outputs)


@dataclass
class _StepEvaluator(Evaluator):
    """Reads states where threads keep them: `at` is the place in a thread's part."""

    states: dict[int, Tensor] = field(default_factory=dict)
    at: Index = ZERO

    def _evaluate(self, tensor: Tensor, index: Idx) -> Expr:
        if id(tensor) in self.states:
            self.local_reads.append((tensor, index))
            return Load(compute_type(tensor.dtype), tensor.name, self.at)
        return super()._evaluate(tensor, index)


class _Builder:
    """Finds the place of everything among the axes of the state, then writes the statements."""

    def __init__(self, steps: Axis, joined: Joined, states: Sequence[Carried]) -> None:
        self._steps, self._joined, self._states = steps, joined, states
        needed = in_order([*(state.after for state in states), joined.value])
        if bad := [tensor for tensor in needed if isinstance(tensor, Matmul | Scan)]:
            raise _unfit(f"'{bad[0].name}' needs more than a thread's part of the state")
        name_tensors([*needed, *(base(state.first) for state in states)])
        self._gathered = [tensor for tensor in needed if isinstance(tensor, Reduction)]
        self._names = AxisNames()
        self._axes = self._names.fresh(states[0].before.shape)
        self._place: dict[int, Idx] = {}
        self._inner: dict[int, Idx] = {}
        for state in states:
            if state.before.shape != states[0].before.shape:
                raise _unfit("states of several shapes")
            self._place[id(state.before)] = positions(self._axes)
        for reduction in self._gathered:
            self._locate(reduction)
        self._result_place = self._located(joined.value)
        self._local = self._local_axes()
        self._at = flatten(positions(self._local), tuple(axis.extent for axis in self._local))

    def _evaluator(self) -> _StepEvaluator:
        gathered = {id(tensor) for tensor in self._gathered}
        states: dict[int, Tensor] = {id(s.before): s.before for s in self._states}
        at = getattr(self, "_at", ZERO)
        return _StepEvaluator(
            lambda tensor: id(tensor) in gathered, lambda _: False, states=states, at=at
        )

    def _locate(self, tensor: Reduction) -> None:
        outer, inner = self._names.fresh(tensor.shape), self._names.fresh(tensor.inner)
        evaluator = self._evaluator()
        tensor.body(positions(outer), positions(inner), evaluator.read)
        found = self._solved(tensor, evaluator.local_reads, (*outer, *inner))
        self._place[id(tensor)] = _replaced(positions(outer), found)
        self._inner[id(tensor)] = _replaced(positions(inner), found)

    def _located(self, tensor: Tensor) -> Idx:
        axes = self._names.fresh(tensor.shape)
        evaluator = self._evaluator()
        evaluator.read(tensor, positions(axes))
        return _replaced(positions(axes), self._solved(tensor, evaluator.local_reads, axes))

    def _solved(
        self, tensor: Tensor, reads: Sequence[tuple[Tensor, Idx]], axes: Sequence[Axis]
    ) -> dict[Atom, Index]:
        """The state's axes that the tensor's own stand for, by what it reads of the state."""
        found: dict[Atom, Index] = {}
        for read, index in reads:
            for at, wanted in zip(index, self._place[id(read)], strict=True):
                own = next(iter(at.axes()), None)
                if own is not None and at == Index.of(own):
                    found.setdefault(own, wanted)
                if at.replace(found) != wanted:
                    raise _unfit(f"'{tensor.name}' reads the state of other threads")
        if any(axis.extent != 1 and axis not in found for axis in axes):
            raise _unfit(f"'{tensor.name}' is larger than the state")
        return found

    def _local_axes(self) -> tuple[Axis, ...]:
        """The axes that one thread walks: those that are reduced."""
        reduced = {axis for place in self._inner.values() for at in place for axis in at.axes()}
        for tensor in self._gathered:
            inner = {axis for at in self._inner[id(tensor)] for axis in at.axes()}
            if inner != reduced:
                raise _unfit(f"'{tensor.name}' is reduced along other dimensions than the rest")
        local = tuple(axis for axis in self._axes if axis in reduced)
        if not math.prod(_constant(axis.extent) for axis in local) <= MOST_LOCAL:
            raise _unfit(f"a thread's part of the state is larger than {MOST_LOCAL}")
        return local

    def form(self, outputs: Sequence[str]) -> LoopForm:
        """The nest and its memory."""
        evaluator = self._evaluator()
        nest = LoopNest(
            identifier(f"loop_{self._joined.name}"),
            "recurrence",
            tuple(axis for axis in self._axes if axis not in self._local),
            (*self._reductions(evaluator), *self._stores(evaluator)),
            before=tuple(self._before(evaluator)),
            after=tuple(self._after()),
            steps=self._steps,
            carried=tuple(
                (state.before.name, f"{state.before.name}_next") for state in self._states
            ),
        )
        return LoopForm((nest,), dict(self._buffers(evaluator)), tuple(outputs))

    def _reductions(self, evaluator: Evaluator) -> Iterator[Statement]:
        for tensor in self._gathered:
            place, inner = self._place[id(tensor)], self._inner[id(tensor)]
            if tensor.kind.startswith("arg"):
                raise _unfit(f"'{tensor.name}' is a place")
            value = tensor.body(place, inner, evaluator.read)
            yield Statement(
                tensor.name, tensor.dtype, "reduce", (value,), None, self._local, tensor.kind
            )

    def _stores(self, evaluator: Evaluator) -> Iterator[Statement]:
        joined, step = self._joined, Index.of(self._steps)
        turn = self._steps.extent - 1 - step if joined.is_backwards else step + len(joined.peeled)
        yield self._entry(turn, evaluator.read(joined.value, self._result_place))
        for state in self._states:
            place = self._place[id(state.before)]
            reads = len(evaluator.local_reads)
            value = evaluator.read(state.after, place)
            for read, index in evaluator.local_reads[reads:]:
                if index != self._place[id(read)]:
                    raise _unfit(f"'{state.after.name}' reads the state of other threads")
            yield self._kept(state, f"{state.before.name}_next", value)

    def _before(self, evaluator: Evaluator) -> Iterator[Statement]:
        for state in self._states:
            place = self._place[id(state.before)]
            yield self._kept(state, state.before.name, evaluator.read(state.first, place))
        for i, tensor in enumerate(self._joined.peeled):
            yield self._entry(Index.of(i), evaluator.read(tensor, self._result_place))

    def _after(self) -> Iterator[Statement]:
        for state in self._states:
            if state.last is not None:
                value = Load(compute_type(state.before.dtype), state.before.name, self._at)
                target = flatten(self._place[id(state.before)], state.before.shape)
                yield Statement(
                    state.last, state.after.dtype, "store", (value,), target, self._local
                )

    def _kept(self, state: Carried, name: str, value: Expr) -> Statement:
        return Statement(name, state.before.dtype, "store", (value,), self._at, self._local)

    def _entry(self, turn: Index, value: Expr) -> Statement:
        """What belongs at a place along the joined dimension."""
        joined, place = self._joined, list(self._result_place)
        place[joined.dim] = turn * joined.value.shape[joined.dim] + place[joined.dim]
        inner = tuple(axis for axis in self._local if any(axis in at.axes() for at in place))
        target = flatten(tuple(place), joined.shape)
        return Statement(joined.name, joined.dtype, "store", (value,), target, inner)

    def _buffers(self, evaluator: Evaluator) -> Iterator[tuple[str, Buffer]]:
        for tensor in evaluator.loaded.values():
            if not isinstance(tensor, Stored | Table):
                raise _unfit(f"'{tensor.name}' is not in memory")
            yield buffer_name(tensor), given_buffer(tensor)
        shape = tuple(axis.extent for axis in self._local)
        for state in self._states:
            for name in (state.before.name, f"{state.before.name}_next"):
                yield name, Buffer(name, name, state.before.dtype, shape, "local")
            if state.last is not None:
                own = (state.last, state.last, state.after.dtype, state.before.shape)
                yield state.last, Buffer(*own, "output")
        joined = self._joined
        yield joined.name, Buffer(joined.name, joined.name, joined.dtype, joined.shape, "output")


def _replaced(place: Idx, found: dict[Atom, Index]) -> Idx:
    return tuple(at.replace(found) for at in place)


def _constant(extent: Index) -> float:
    return math.inf if extent.constant is None else extent.constant


def _unfit(why: str) -> UnsupportedError:
    return UnsupportedError(f"not supported: a loop in one kernel: {why}")
