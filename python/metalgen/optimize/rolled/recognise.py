"""Finds loops that capture unrolled: the same operators again and again, a state handed on.

What a loop gave to torch.stack or torch.cat is where it begins to be found: lane t of a bundle is
what step t computed. From there backwards, a bundle's arguments are bundles, what all steps share,
slices of a sequence at t, or the state: a bundle moved by one step, with its first value before.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.fx import Graph, Node

from metalgen.optimize.passes.nodes import ATEN

LEAST_STEPS = 4
MOST_PEELED = 2
Lanes = tuple[Node | None, ...]  # a step's update that nobody reads is not there


@dataclass(frozen=True)
class Slice:
    """`node` of step 1 is `source` at `start + step * t` along `dim`; the dimension may remain."""

    node: Node
    source: Node
    dim: int
    start: int
    step: int
    keeps: bool


@dataclass(frozen=True)
class State:
    """`before` what step 1 reads of the state, `after` what it makes of it; `last` read outside."""

    first: Node
    before: Node
    after: Node
    last: Node | None


@dataclass(frozen=True)
class UnrolledLoop:
    """`body` are step 1's nodes in order, `result` what it gives to `joined` along `dim`.

    `peeled` are entries of `joined` ahead of these; `is_backwards`: the last entry comes first.
    """

    joined: Node
    dim: int
    steps: int
    peeled: tuple[Node, ...]
    is_backwards: bool
    result: Node
    body: tuple[Node, ...]
    slices: tuple[Slice, ...]
    states: tuple[State, ...]
    shared: tuple[Node, ...]
    nodes: frozenset[Node]


def find_loops(graph: Graph) -> list[UnrolledLoop]:
    """All loops of the graph, none of which has a node of another."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    found: list[UnrolledLoop] = []
    taken: set[Node] = set()
    for joined in graph.find_nodes(op="call_function", target=ATEN.cat.default):
        loop = next(_loops(joined, order), None)
        if loop is not None and not loop.nodes & taken:
            found.append(loop)
            taken |= loop.nodes
    return found


def _loops(joined: Node, order: dict[Node, int]) -> Iterator[UnrolledLoop]:
    entries, dim = _entries(joined)
    for peeled in range(MOST_PEELED + 1):
        if len(entries) - peeled < LEAST_STEPS:
            return
        for is_backwards in (False, True):
            lanes = entries[peeled:][::-1] if is_backwards else entries[peeled:]
            if is_backwards and peeled:
                continue
            roller = _Roller(len(lanes))
            if roller.visit(lanes) and roller.states:
                loop = roller.loop(joined, dim, entries[:peeled], is_backwards, lanes, order)
                if loop is not None:
                    yield loop


def _entries(joined: Node) -> tuple[tuple[Node, ...], int]:
    """What is joined, all of one shape, and the dimension."""
    entries = joined.args[0]
    dim = joined.args[1] if len(joined.args) > 1 else 0
    if not isinstance(entries, list | tuple) or not isinstance(dim, int):
        return (), 0
    nodes = tuple(entry for entry in entries if isinstance(entry, Node))
    if len({str(node.meta["val"].shape) for node in nodes}) != 1 or len(nodes) < len(entries):
        return (), 0
    return nodes, dim % joined.meta["val"].dim()


def select_from_wholes(graph: Graph) -> None:
    """`x[:, t]` selects from a slice that is all of x: let it select from x, in all steps the same.

    The slices are dead then and taken out.
    """
    places = (ATEN.select.int, ATEN.slice.Tensor)
    for node in [
        n for target in places for n in graph.find_nodes(op="call_function", target=target)
    ]:
        if _slice_of(node) is None:
            continue
        source = node.args[0]
        while source.target is ATEN.slice.Tensor and _is_whole(source):
            source = source.args[0]
        if source is not node.args[0]:
            whole = node.args[0]
            node.args = (source, *node.args[1:])
            while not whole.users and whole is not source:
                dead, whole = whole, whole.args[0]
                graph.erase_node(dead)


def _is_whole(node: Node) -> bool:
    source = node.args[0]
    return isinstance(source, Node) and str(source.meta["val"].shape) == str(node.meta["val"].shape)


@dataclass
class _Roller:
    """Bundles by their node of step 1."""

    steps: int
    bundles: dict[Node, Lanes] = field(default_factory=dict)
    slices: dict[Node, tuple[Slice, Lanes]] = field(default_factory=dict)
    states: dict[Node, Node] = field(default_factory=dict)  # node of step 0: what was before it
    shared: dict[Node, None] = field(default_factory=dict)
    _by_first: dict[Node, Lanes] = field(default_factory=dict)

    def visit(self, start: Lanes) -> bool:
        """Whether the bundle and all that it needs are the same in every step."""
        pending: list[Lanes] = [start]
        while pending:
            lanes = pending.pop()
            arguments = self._understood(lanes)
            if arguments is None:
                return False
            pending += arguments
        return True

    def _understood(self, lanes: Lanes) -> list[Lanes] | None:
        """What else must be understood, None where the steps differ."""
        first, proto = lanes[0], lanes[1]
        assert first is not None
        assert proto is not None
        if all(node in (first, None) for node in lanes):
            self.shared[first] = None
            return []
        if proto in self.slices or self._is_slice(lanes):
            found, nodes = self.slices[proto]
            if not _agree(nodes, lanes):
                return None
            merged = tuple(a or b for a, b in zip(nodes, lanes, strict=True))
            self.slices[proto] = (found, merged)
            return []
        if (known := self.bundles.get(proto)) is not None:
            if not _agree(known, lanes):
                return None
            if None not in known or None in lanes:
                return []
        elif (state := self._by_first.get(proto)) is not None and _agree(state[:-1], lanes[1:]):
            if self.states.setdefault(proto, first) is not first:
                return None
            return []
        if not _are_alike(lanes):
            return self._guessed_state(lanes)
        self.bundles[proto] = lanes
        self._by_first[first] = lanes
        return _arguments(lanes)

    def _guessed_state(self, lanes: Lanes) -> list[Lanes] | None:
        """A state whose update was not met yet; the last step's may not be in the graph."""
        after: Lanes = (*lanes[1:], None)
        if len(lanes) < LEAST_STEPS or not _are_alike(after) or after[1] in self.bundles:
            return None
        first, before = lanes[0], lanes[1]
        assert first is not None
        assert before is not None
        self.states[before] = first
        return [after]

    def _is_slice(self, lanes: Lanes) -> bool:
        found = [_slice_of(node) for node in lanes if node is not None]
        known = [each for each in found if each is not None]
        if len(known) < len(found) or len(known) < 2:
            return False
        (source, dim, start, keeps), step = known[0], known[1][2] - known[0][2]
        wanted = [(source, dim, start + step * t, keeps) for t in range(len(known))]
        if known != wanted or abs(step) != 1:
            return False
        last, size = start + step * (self.steps - 1), source.meta["val"].shape[dim]
        if not isinstance(size, int) or not 0 <= last < size:
            return False
        proto = lanes[1]
        assert proto is not None
        self.slices[proto] = (Slice(proto, source, dim, start, step, keeps), lanes)
        return True

    def loop(
        self,
        joined: Node,
        dim: int,
        peeled: Sequence[Node],
        is_backwards: bool,
        lanes: Sequence[Node],
        order: dict[Node, int],
    ) -> UnrolledLoop | None:
        """What was found, None where somebody else reads a step's values."""
        self._complete(order)
        states = [self._state(before, first) for before, first in self.states.items()]
        bundles = [*self.bundles.values(), *(lanes for _, lanes in self.slices.values())]
        nodes = frozenset(node for bundle in bundles for node in bundle if node) | {joined}
        lasts = {state.last for state in states}
        given = {joined, *(node for node in nodes if node in lasts)}
        if any(user not in nodes for node in nodes - given for user in node.users):
            return None
        sources = (each.source for each, _ in self.slices.values())
        needed = {*sources, *self.shared, *self.states.values(), *peeled}
        if needed & nodes or max(map(order.__getitem__, needed)) > min(
            map(order.__getitem__, given)
        ):
            return None
        kept = tuple(
            State(each.first, each.before, each.after, each.last if _is_read(each, nodes) else None)
            for each in states
        )
        return UnrolledLoop(
            joined,
            dim,
            self.steps,
            tuple(peeled),
            is_backwards,
            lanes[1],
            tuple(sorted(self.bundles, key=order.__getitem__)),
            tuple(each for each, _ in self.slices.values()),
            kept,
            tuple(self.shared),
            nodes,
        )

    def _complete(self, order: dict[Node, int]) -> None:
        """Finds the last step's nodes that no other step reads, but somebody after the loop."""
        for proto in sorted(self.bundles, key=order.__getitem__):
            lanes = self.bundles[proto]
            if lanes[-1] is not None:
                continue
            wanted = [self._last_of(argument) for argument in _flat(proto)]
            readers = list(wanted[0].users) if wanted and wanted[0] is not None else []
            same = (n for n in readers if _form(n) == _form(proto) and _flat(n) == wanted)
            if (found := next(same, None)) is not None:
                self.bundles[proto] = (*lanes[:-1], found)
                first = lanes[0]
                assert first is not None
                self._by_first[first] = self.bundles[proto]

    def _last_of(self, argument: Node) -> Node | None:
        """What the last step reads where step 1 reads this."""
        if argument in self.slices:
            return self.slices[argument][1][-1]
        if argument in self.bundles:
            return self.bundles[argument][-1]
        if argument in self.states:
            return self._by_first[argument][-2]
        return argument

    def _state(self, before: Node, first: Node) -> State:
        lanes = self._by_first[before]
        after = lanes[1]
        assert after is not None
        return State(first, before, after, lanes[-1])


def _is_read(state: State, nodes: frozenset[Node]) -> bool:
    return state.last is not None and any(user not in nodes for user in state.last.users)


def _agree(known: Lanes, lanes: Lanes) -> bool:
    return all(a is b or a is None or b is None for a, b in zip(known, lanes, strict=True))


def _are_alike(lanes: Lanes) -> bool:
    """Whether all are the same operator, with the same numbers."""
    nodes = [node for node in lanes if node is not None]
    first = nodes[0]
    if first.op != "call_function" or not isinstance(first.target, torch._ops.OpOverload):
        return False
    return all(_form(node) == _form(first) for node in nodes[1:])


def _form(node: Node) -> object:
    """The node without the nodes that it reads."""
    shown = torch.fx.map_arg((node.args, node.kwargs), lambda _: None)
    value = node.meta.get("val")
    kind = (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else None
    return node.op, node.target, repr(shown), repr(kind)


def _arguments(lanes: Lanes) -> list[Lanes]:
    flat = [None if node is None else _flat(node) for node in lanes]
    count = len(flat[0] or ())
    return [tuple(None if each is None else each[i] for each in flat) for i in range(count)]


def _flat(node: Node) -> list[Node]:
    """The nodes among the arguments, in order, one that is read twice twice."""
    found: list[Node] = []
    torch.fx.map_arg((node.args, node.kwargs), lambda each: found.append(each))
    return found


def _slice_of(node: Node) -> tuple[Node, int, int, bool] | None:
    """Source, dimension, place and whether the dimension remains, of one place of it."""
    if node.target is ATEN.select.int:
        source, dim, place = node.args
        keeps = False
    elif node.target is ATEN.slice.Tensor and len(node.args) == 4 and not node.kwargs:
        source, dim, place, end = node.args
        if not isinstance(place, int) or not isinstance(end, int) or end - place != 1:
            return None
        keeps = True
    elif node.target is operator.getitem and isinstance(node.args[0], Node):
        whole, place = node.args
        if not isinstance(whole, Node) or whole.target is not ATEN.unbind.int:
            return None
        source, dim = whole.args[0], whole.args[1] if len(whole.args) > 1 else 0
        keeps = False
    else:
        return None
    if not isinstance(source, Node) or not isinstance(dim, int) or not isinstance(place, int):
        return None
    value = source.meta["val"]
    size = value.shape[dim]
    if not isinstance(size, int):
        return None
    return source, dim % value.dim(), place % size, keeps
