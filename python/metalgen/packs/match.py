"""Finds a pattern in a captured graph: the same operators, dtypes and numbers, equal sizes.

A match is exact; what is left open are the names of values, the order of operands that may be
swapped, and the sizes that the pattern leaves open.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import sympy
import torch
from torch import Tensor
from torch.fx import Graph, Node

from metalgen.errors import UnsupportedError
from metalgen.packs.constant import Expected, may_hold
from metalgen.packs.pattern import GETITEM, Call, Pattern, plain_constant
from metalgen.packs.sizes import Size, are_equal, expression_of

# Operators whose first two operands may be swapped.
_SWAPPABLE = frozenset(
    f"aten.{name}"
    for name in (
        *("add.Tensor", "mul.Tensor", "maximum.default", "minimum.default", "eq.Tensor"),
        *("ne.Tensor", "logical_and.default", "logical_or.default", "logical_xor.default"),
        *("bitwise_and.Tensor", "bitwise_or.Tensor", "bitwise_xor.Tensor"),
    )
)


Conditions: TypeAlias = "tuple[tuple[Node, Expected], ...]"


@dataclass(frozen=True)
class Match:
    """Where a pattern's values are in a graph: `values[i]` is that of the pattern's value i.

    It is one only where each node of `conditions` has its constant, which may show in calls alone.
    """

    pattern: Pattern
    values: Mapping[int, Node]
    conditions: Conditions = ()

    @property
    def operands(self) -> tuple[Node, ...]:
        """The tensors that are read, in the pattern's order."""
        return tuple(self.values[i] for i in range(len(self.pattern.operands)))

    @property
    def results(self) -> tuple[Node, ...]:
        """What is computed, in the pattern's order."""
        return tuple(self.values[i] for i in self.pattern.results)

    @property
    def calls(self) -> frozenset[Node]:
        """The operators that the pattern stands for."""
        first = len(self.pattern.operands)
        return frozenset(self.values[first + i] for i in range(len(self.pattern.calls)))


def find_matches(pattern: Pattern, graph: Graph, parameters: Collection[str]) -> Iterator[Match]:
    """Every place where the pattern is found and could be computed as a whole, last places first.

    `parameters` are the placeholders (and attributes) of the graph whose memory rarely changes.
    """
    by_operator: dict[str, list[Node]] = {}
    for node in reversed(graph.nodes):
        if node.op == "call_function":
            by_operator.setdefault(_operator(node), []).append(node)
    search = _Search(pattern, by_operator, parameters)
    last = max(pattern.results)
    for node in by_operator.get(search.call(last).operator, ()):
        match = next(search.from_result(last, node), None)
        if match is not None:
            yield match


@dataclass(frozen=True)
class _State:
    values: dict[int, Node]
    sizes: tuple[tuple[Size, sympy.Expr], ...] = ()
    conditions: Conditions = ()


class _Goal(NamedTuple):
    """What the pattern wants, an argument as data, and what the graph has there."""

    wanted: Any
    found: object


_Way: TypeAlias = "tuple[list[_Goal], _State]"
_Goals: TypeAlias = "tuple[_Goal, _Goals] | None"  # the first, and those after it
_ANYWHERE = object()  # found: a result may be any operator of the graph


@dataclass(frozen=True)
class _Search:
    pattern: Pattern
    by_operator: Mapping[str, list[Node]]
    parameters: Collection[str]

    def call(self, number: int) -> Call:
        return self.pattern.calls[number - len(self.pattern.operands)]

    def from_result(self, number: int, node: Node) -> Iterator[Match]:
        """Matches in which `node` is that one of the results."""
        others = [_Goal({"ref": i}, _ANYWHERE) for i in self.pattern.results if i != number]
        goals = _before([_Goal({"ref": number}, node), *others], None)
        for state in self._solutions(goals):
            match = Match(self.pattern, state.values, state.conditions)
            if self._is_whole(match) and are_equal(state.sizes):
                yield match

    def _solutions(self, goals: _Goals) -> Iterator[_State]:
        pending = [(goals, _State({}))]
        while pending:
            goals, state = pending.pop()
            if goals is None:
                yield state
                continue
            goal, rest = goals
            ways = [(_before(more, rest), after) for more, after in self._ways(goal, state)]
            pending.extend(reversed(ways))

    def _ways(self, goal: _Goal, state: _State) -> Iterator[_Way]:
        """The ways in which a goal can be met: what then remains to be shown of it."""
        wanted, found = goal
        if isinstance(wanted, list):
            if isinstance(found, list | tuple) and len(found) == len(wanted):
                yield list(map(_Goal, wanted, found)), state
        elif isinstance(wanted, dict) and "ref" in wanted:
            yield from self._value(wanted["ref"], found, state)
        elif isinstance(wanted, dict) and "size" in wanted:
            if (expression := expression_of(found)) is not None:
                yield [], replace(state, sizes=(*state.sizes, (wanted["size"], expression)))
        elif isinstance(wanted, dict) and "constant" in wanted:
            yield from _constant(wanted["constant"], found, state)
        elif type(wanted) is int and (expression := expression_of(found)) is not None:
            if expression == wanted:
                yield [], state
        elif type(wanted) is float and isinstance(found, Node):
            yield from _constant(wanted, found, state)
        elif not isinstance(found, Node | torch.SymInt) and _is_constant(wanted, found):
            yield [], state

    def _value(self, number: int, found: object, state: _State) -> Iterator[_Way]:
        """Ways in which what was found may be the pattern's value of that number."""
        known = state.values.get(number)
        if found is _ANYWHERE:
            nodes = self.by_operator.get(self.call(number).operator, [])
            for node in [known] if known is not None else nodes:
                yield [_Goal({"ref": number}, node)], state
        elif known is not None:
            if known is found:
                yield [], state
        elif isinstance(found, Node):
            is_operand = number < len(self.pattern.operands)
            yield from (self._operand if is_operand else self._called)(number, found, state)

    def _called(self, number: int, node: Node, state: _State) -> Iterator[_Way]:
        call = self.call(number)
        if node.op != "call_function" or _operator(node) != call.operator:
            return
        if node in state.values.values() or node.kwargs.keys() != call.kwargs.keys():
            return
        named = [_Goal(call.kwargs[key], node.kwargs[key]) for key in sorted(call.kwargs)]
        bound = replace(state, values={**state.values, number: node})
        for args in _orders(call):
            yield [_Goal(args, node.args), *named], bound

    def _operand(self, number: int, node: Node, state: _State) -> Iterator[_Way]:
        operand, value = self.pattern.operands[number], node.meta.get("val")
        if not isinstance(value, Tensor) or len(operand.shape) != value.dim():
            return
        if str(value.dtype) != f"torch.{operand.dtype}":
            return
        if operand.kind == "parameter" and node.name not in self.parameters:
            return
        sizes = [expression_of(size) for size in value.shape]
        pairs = [pair for pair in zip(operand.shape, sizes, strict=True) if pair[1] is not None]
        values = {**state.values, number: node}
        yield [], replace(state, values=values, sizes=(*state.sizes, *pairs))

    def _is_whole(self, match: Match) -> bool:
        """Whether nobody else reads what is computed on the way, and nothing leads back in."""
        results, calls = set(match.results), match.calls
        if len(calls) != len(self.pattern.calls):
            return False
        inner = calls - results
        if any(user not in calls for node in inner for user in node.users):
            return False
        return len(results) == 1 or not _leads_back(results, calls)


def _constant(expected: Expected, found: object, state: _State) -> Iterator[_Way]:
    if isinstance(found, Node) and may_hold(found, expected):
        yield [], replace(state, conditions=(*state.conditions, (found, expected)))


def _before(goals: Sequence[_Goal], rest: _Goals) -> _Goals:
    for goal in reversed(goals):
        rest = (goal, rest)
    return rest


def _orders(call: Call) -> Iterator[list[Any]]:
    yield call.args
    if call.operator in _SWAPPABLE and len(call.args) == 2 and call.args[0] != call.args[1]:
        yield [call.args[1], call.args[0]]


def _operator(node: Node) -> str:
    return GETITEM if node.target is operator.getitem else str(node.target)


def _is_constant(wanted: Any, found: object) -> bool:
    try:
        plain = plain_constant(found)
    except UnsupportedError:
        return False
    return type(plain) is type(wanted) and bool(plain == wanted)


def _leads_back(results: set[Node], calls: frozenset[Node]) -> bool:
    """Whether something outside reads a result and is read by a call."""
    pending = [user for node in results for user in node.users if user not in calls]
    seen: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in calls:
            return True
        if node not in seen:
            seen.add(node)
            pending.extend(node.users)
    return False
