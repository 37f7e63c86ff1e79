"""The control-flow graph of a kernel: order, dominance both ways, natural loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Block, Function

EXIT = ""  # stands behind every block that returns


@dataclass(slots=True, eq=False)
class Loop:
    """A natural loop: its header, all its blocks, and the loop around it."""

    header: str
    blocks: set[str]
    parent: Loop | None = None

    def contains(self, label: str) -> bool:
        return label in self.blocks


@dataclass(slots=True)
class Dominators:
    """Immediate dominators by the algorithm of Cooper, Harvey and Kennedy (2001)."""

    order: Sequence[str]
    predecessors: Mapping[str, Sequence[str]]
    immediate: dict[str, str] = field(default_factory=dict)
    _position: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._position = {label: index for index, label in enumerate(self.order)}
        root = self.order[0]
        self.immediate[root] = root
        changed = True
        while changed:
            changed = False
            for label in self.order[1:]:
                done = [p for p in self.predecessors[label] if p in self.immediate]
                best = done[0]
                for other in done[1:]:
                    best = self.meet(best, other)
                if self.immediate.get(label) != best:
                    self.immediate[label] = best
                    changed = True

    def meet(self, first: str, second: str) -> str:
        """The nearest node that dominates both."""
        while first != second:
            while self._position[first] > self._position[second]:
                first = self.immediate[first]
            while self._position[second] > self._position[first]:
                second = self.immediate[second]
        return first

    def dominates(self, above: str, below: str) -> bool:
        while self._position[below] > self._position[above]:
            below = self.immediate[below]
        return below == above


def dominators_of(function: Function) -> Dominators:
    """The dominators of any control flow, irreducible or not."""
    successors = {block.label: block.successors() for block in function.blocks}
    order = _reverse_post_order(function.blocks[0].label, successors)
    predecessors: dict[str, list[str]] = {label: [] for label in order}
    for label in order:
        for successor in successors[label]:
            predecessors[successor].append(label)
    return Dominators(order, predecessors)


class Graph:
    """A function's blocks as a graph; every block must reach a return."""

    def __init__(self, function: Function) -> None:
        self.blocks: dict[str, Block] = {block.label: block for block in function.blocks}
        self.entry = function.blocks[0].label
        self.successors = {label: block.successors() for label, block in self.blocks.items()}
        self.order = _reverse_post_order(self.entry, self.successors)
        self.blocks = {label: self.blocks[label] for label in self.order}
        self.predecessors: dict[str, list[str]] = {label: [] for label in self.order}
        for label in self.order:
            for successor in self.successors[label]:
                self.predecessors[successor].append(label)
        self.position = {label: index for index, label in enumerate(self.order)}
        self._dominators = Dominators(self.order, self.predecessors)
        self._postdominators = self._reversed_dominators()
        self.loops = self._natural_loops()

    def dominates(self, above: str, below: str) -> bool:
        return self._dominators.dominates(above, below)

    def dominator(self, label: str) -> str:
        """The nearest other block that every path from the entry to `label` passes."""
        return self._dominators.immediate[label]

    def postdominator(self, label: str) -> str:
        """The nearest block that every path from `label` to the return passes, or EXIT."""
        return self._postdominators.immediate[label]

    def common_postdominator(self, labels: Sequence[str]) -> str:
        first, *others = labels
        for other in others:
            first = self._postdominators.meet(first, other)
        return first

    def _reversed_dominators(self) -> Dominators:
        ends = [label for label in self.order if not self.successors[label]]
        forward = {label: self.successors[label] or [EXIT] for label in self.order}
        order = _reverse_post_order(EXIT, {**self.predecessors, EXIT: ends})
        if len(order) != len(self.order) + 1:
            raise UnsupportedError("not supported: a loop without an exit")
        return Dominators(order, forward)

    def _natural_loops(self) -> dict[str, Loop]:
        loops: dict[str, Loop] = {}
        for label in self.order:
            for successor in self.successors[label]:
                if self.position[successor] > self.position[label]:
                    continue
                if not self.dominates(successor, label):
                    raise UnsupportedError("not supported: irreducible control flow")
                loop = loops.setdefault(successor, Loop(successor, {successor}))
                self._collect(loop, label)
        for loop in loops.values():
            around = [o for o in loops.values() if o is not loop and loop.header in o.blocks]
            loop.parent = min(around, key=lambda o: len(o.blocks), default=None)
        return loops

    def _collect(self, loop: Loop, latch: str) -> None:
        pending = [latch]
        while pending:
            label = pending.pop()
            if label not in loop.blocks:
                loop.blocks.add(label)
                pending += self.predecessors[label]

    @cached_property
    def innermost_loop(self) -> dict[str, Loop | None]:
        """For each block the smallest loop around it."""
        by_size = sorted(self.loops.values(), key=lambda loop: len(loop.blocks))
        return {
            label: next((loop for loop in by_size if label in loop.blocks), None)
            for label in self.order
        }

    def exits(self, loop: Loop) -> list[str]:
        """The blocks outside the loop that its blocks branch to."""
        targets = [s for label in loop.blocks for s in self.successors[label]]
        return [t for t in dict.fromkeys(targets) if t not in loop.blocks]

    def region(self, starts: Sequence[str], end: str) -> set[str]:
        """All blocks reachable from `starts` without passing `end`."""
        found: set[str] = set()
        pending = [start for start in starts if start != end]
        while pending:
            label = pending.pop()
            if label in found:
                continue
            found.add(label)
            pending += [s for s in self.successors[label] if s != end]
        return found


def _reverse_post_order(root: str, successors: Mapping[str, Sequence[str]]) -> list[str]:
    """Every node before its successors, but for the edges that go back in loops."""
    finished: list[str] = []
    seen = {root}
    stack = [(root, iter(successors[root]))]
    while stack:
        label, pending = stack[-1]
        following = next((s for s in pending if s not in seen), None)
        if following is None:
            finished.append(label)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(successors[following])))
    return finished[::-1]
