"""Copies into another order move to the one who reads them, where they become index arithmetic.

Where they were written a kernel of their own, or the end of another region, would make them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch.fx import Graph, Node

from metalgen.optimize.passes.apply import Pass
from metalgen.optimize.passes.nodes import ATEN, is_view
from metalgen.optimize.passes.parameter_work import FOLLOWS_READER


def _movable(graph: Graph) -> Iterator[Node]:
    """Copies with one reader, perhaps through views with one reader each."""
    for node in graph.find_nodes(op="call_function", target=ATEN.clone.default):
        if FOLLOWS_READER not in node.meta and _has_one_reader(node):
            yield node


def _has_one_reader(node: Node) -> bool:
    while len(node.users) == 1:
        (node,) = node.users
        if node.op != "call_function":
            return False
        if not is_view(node):
            return True
    return False


def _mark(graph: Graph, _: Collection[str]) -> int:
    found = list(_movable(graph))
    for node in found:
        node.meta[FOLLOWS_READER] = True
    return len(found)


def _remaining(graph: Graph, _: Collection[str]) -> Iterator[Node]:
    return _movable(graph)


COPIES_TO_READERS = Pass("copies to their readers", _mark, _remaining)
