"""How often loops run, per lane: by following what changes from one iteration to the next.

A loop whose condition follows from sizes and positions is exact. Values that grow by the same step
are searched for the iteration that leaves; others (halved, multiplied) are followed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from metalgen.profile.lane_values import Lanes, Value
from metalgen.profile.samples import Numbers
from metalgen.software.ir.model import Instruction, Local, Operand
from metalgen.software.simdgroup.cfg import Graph, Loop

_LONGEST_FOLLOWED = 256  # iterations, of loops that grow by no fixed step
_LONGEST = 1 << 40
_AVERAGED = 64  # iterations that a condition is tried in

Phis = Mapping[str, Value]
Evaluate = Callable[[Instruction, Phis], Value]


@dataclass(frozen=True, slots=True)
class Exit:
    """A branch out of a loop: its block, what it tests, and the outcome that leaves."""

    block: str
    condition: Operand
    leaves_if: bool


def exits(graph: Graph, loop: Loop) -> list[Exit]:
    """The branches that are met in every iteration and may leave the loop."""
    latches = [p for p in graph.predecessors[loop.header] if p in loop.blocks]
    found = []
    for label in sorted(loop.blocks, key=graph.position.__getitem__):
        end = graph.blocks[label].terminator
        if end.opcode != "br" or len(end.labels) != 2:
            continue
        inside = [target in loop.blocks for target in end.labels]
        always = all(graph.dominates(label, latch) for latch in latches)
        if inside[0] != inside[1] and always:
            found.append(Exit(label, end.operands[0], leaves_if=not inside[0]))
    return found


class Iteration:
    """The values that a loop hands from one iteration to the next."""

    def __init__(
        self, graph: Graph, loop: Loop, start: Mapping[str, Value], evaluate: Evaluate
    ) -> None:
        self._inside = [graph.blocks[label] for label in graph.order if label in loop.blocks]
        self._evaluate = evaluate
        self._home = {i.result: i for block in self._inside for i in block.instructions if i.result}
        header = graph.blocks[loop.header]
        self._next: dict[str, Operand] = {}
        for phi in header.phis():
            arms = dict(zip(phi.labels, phi.operands, strict=True))
            backward = [operand for label, operand in arms.items() if label in loop.blocks]
            if len(backward) == 1:
                self._next[phi.result] = backward[0]
        self._slices = {name: self._slice(operand) for name, operand in self._next.items()}
        self.start = {name: start.get(name) for name in self._next}
        self.step = self._steps()
        self._around: tuple[dict[str, Value], dict[str, Value]] | None = None

    def condition(self, leaving: Exit) -> Callable[[Phis], NDArray[np.bool_] | None]:
        """Whether lanes leave, given the values of the header's phis."""
        instructions = self._slice(leaving.condition)

        def test(phis: Phis) -> NDArray[np.bool_] | None:
            value = self._value(leaving.condition, instructions, phis)
            if not isinstance(value, Lanes) or value.opaque:
                return None
            leaves: NDArray[np.bool_] = (value.numbers != 0) == leaving.leaves_if
            return leaves

        return test

    def at(self, iteration: Numbers) -> dict[str, Value]:
        """The header's phis in the given iteration of each lane; None where unknown."""
        found = self.steady_at(iteration)
        others = [name for name, start in self.start.items() if name not in self.step and start]
        if others:
            followed = self._followed(iteration)
            found.update((name, followed[name]) for name in others)
        return found

    def steady_at(self, iteration: Numbers) -> dict[str, Value]:
        """Those of them that grow by the same step each time; None for the others."""
        found: dict[str, Value] = {}
        for name, start in self.start.items():
            step = self.step.get(name)
            found[name] = None
            if isinstance(start, Lanes) and step is not None:
                found[name] = Lanes(start.numbers + step * iteration, start.opaque, start.base)
        return found

    def following(self, phis: Phis) -> dict[str, Value]:
        """The header's phis one iteration later; what is unknown stays so."""
        return {
            name: self._value(operand, self._slices[name], phis) if phis.get(name) else None
            for name, operand in self._next.items()
        }

    def share(self, condition: Operand, times: Numbers) -> NDArray[np.float64] | None:
        """Of each lane's `times` iterations the share in which a condition holds; None: unknown.

        All iterations of short loops; of long ones some, or the first.
        """
        instructions = self._slice(condition)
        longest = int(times.max(initial=0))
        count = min(longest, _AVERAGED)
        is_steady = all(name in self.step or not start for name, start in self.start.items())
        spread = is_steady and longest > _AVERAGED
        phis: dict[str, Value] = dict(self.start)
        total = np.zeros(times.shape)
        for number in range(count):
            if is_steady:
                at = number * times // count if spread else np.minimum(number, times - 1)
                phis = self.steady_at(at)
            value = self._value(condition, instructions, phis)
            if not isinstance(value, Lanes) or value.opaque:
                return None
            total += (value.numbers != 0) & (spread | (number < times))
            phis = phis if is_steady else self.following(phis)
        return total / np.maximum(np.minimum(times, count), 1)

    def growth(self, operand: Operand, times: Numbers) -> Numbers | None:
        """By how much an address grows from a middle iteration to the next; None if not known."""
        if self._around is None:
            middle = np.maximum(times - 1, 0) // 2
            self._around = self.at(middle), self.at(middle + 1)
        instructions = self._slice(operand)
        now, then = (self._value(operand, instructions, phis) for phis in self._around)
        if not isinstance(now, Lanes) or not isinstance(then, Lanes) or now.base != then.base:
            return None
        return then.numbers - now.numbers

    def _steps(self) -> dict[str, Numbers]:
        """By how much each phi grows, where that is the same in the first two iterations."""
        one = self.following(self.start)
        two = self.following(one)
        steps = {}
        for name, start in self.start.items():
            values = (start, one[name], two[name])
            lanes = [value for value in values if isinstance(value, Lanes)]
            if len(lanes) == 3 and len({(v.opaque, v.base) for v in lanes}) == 1:
                first, second = (b.numbers - a.numbers for a, b in pairwise(lanes))
                if (first == second).all():
                    steps[name] = first
        return steps

    def _followed(self, iteration: Numbers) -> dict[str, Value]:
        phis: dict[str, Value] = dict(self.start)
        kept = dict(phis)
        for number in range(1, min(int(iteration.max()), _LONGEST_FOLLOWED) + 1):
            phis = self.following(phis)
            for name, value in phis.items():
                old = kept[name]
                if not isinstance(value, Lanes) or not isinstance(old, Lanes):
                    kept[name] = None
                    continue
                numbers = np.where(iteration >= number, value.numbers, old.numbers)
                kept[name] = Lanes(numbers, value.opaque, value.base)
        return kept

    def _slice(self, operand: Operand) -> list[Instruction]:
        """What `operand` is computed from within the loop, in order; [] if nothing."""
        wanted: set[str] = set()
        pending = [operand]
        while pending:
            value = pending.pop().value
            if not isinstance(value, Local) or value.name in wanted:
                continue
            home = self._home.get(value.name)
            if home is None or value.name in self._next:
                continue
            wanted.add(value.name)
            pending += home.operands
        return [i for block in self._inside for i in block.instructions if i.result in wanted]

    def _value(self, operand: Operand, slice_: Sequence[Instruction], phis: Phis) -> Value:
        known = dict(phis)
        for instruction in slice_:
            if instruction.opcode == "phi":
                known[instruction.result] = None
            else:
                known[instruction.result] = self._evaluate(instruction, known)
        if isinstance(operand.value, Local) and operand.value.name in known:
            return known[operand.value.name]
        return self._evaluate(_identity(operand), known)


def _identity(operand: Operand) -> Instruction:
    return Instruction("freeze", operand.type, [operand])


def trips(iteration: Iteration, leaving: Exit, shape: tuple[int, int]) -> Numbers | None:
    """How often each lane runs the header before it leaves by that exit; None if not known."""
    test = iteration.condition(leaving)
    first = test(iteration.start)
    if first is None:
        return None
    if set(iteration.start) <= iteration.step.keys() or _needs_only_steps(iteration, test):
        return _searched(iteration, test, shape)
    return _counted(iteration, test, shape)


def _needs_only_steps(
    iteration: Iteration, test: Callable[[Phis], NDArray[np.bool_] | None]
) -> bool:
    """Whether the condition can be told from the phis that grow steadily alone."""
    steady = {n: v for n, v in iteration.start.items() if n in iteration.step}
    return test({**dict.fromkeys(iteration.start, None), **steady}) is not None


def _searched(
    iteration: Iteration,
    test: Callable[[Phis], NDArray[np.bool_] | None],
    shape: tuple[int, int],
) -> Numbers | None:
    """The first iteration that leaves, by doubling and then halving; conditions stay once met."""
    low = np.full(shape, -1, np.int64)
    high = np.zeros(shape, np.int64)
    while True:
        met = test(iteration.steady_at(high))
        if met is None or int(high.max()) > _LONGEST:
            return None
        if met.all():
            break
        low = np.where(met, low, high)
        high = np.where(met, high, high * 2 + 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        met = test(iteration.steady_at(middle))
        if met is None:
            return None
        high = np.where(met, middle, high)
        low = np.where(met, low, middle)
    return high + 1


def _counted(
    iteration: Iteration,
    test: Callable[[Phis], NDArray[np.bool_] | None],
    shape: tuple[int, int],
) -> Numbers | None:
    phis: dict[str, Value] = dict(iteration.start)
    left = np.zeros(shape, bool)
    count = np.zeros(shape, np.int64)
    for _ in range(_LONGEST_FOLLOWED):
        met = test(phis)
        if met is None:
            return None
        count += ~left
        left |= met
        if left.all():
            return count
        phis = iteration.following(phis)
    return None


def assumed_exit(graph: Graph, loop: Loop) -> str:
    """The block that a loop is taken to leave from where nothing tells."""
    known = exits(graph, loop)
    if known:
        return known[-1].block
    leaving = [b for b in loop.blocks if any(s not in loop.blocks for s in graph.successors[b])]
    return max(leaving, key=graph.position.__getitem__)
