"""What is computed from parameters alone moves to who reads it, a copy for each reader.

There a plan does it once and keeps it; where it was written it would be computed in every call and
handed from region to region.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from torch.fx import Graph, Node

from metalgen.optimize.passes.apply import Pass
from metalgen.optimize.passes.nodes import is_lasting, is_view, tensor_of

MOST_CALLS = 32  # of what is copied for a reader
MOST_READERS = 8
# Says of a node that it may go to whichever region reads it.
FOLLOWS_READER = "metalgen_follows_reader"


def _work(graph: Graph, parameters: Collection[str]) -> list[Node]:
    """Nodes that compute from parameters alone, and whose readers need more than those."""
    lasting = {
        node
        for node in graph.nodes
        if node.op == "call_function" and is_lasting(node, parameters) and _reads_placeholder(node)
    }
    ends = []
    for node in lasting:
        readers = [user for user in node.users if user not in lasting]
        whole = _cone(node)
        is_computed = any(not is_view(each) for each in whole)
        is_result = any(reader.op == "output" for reader in readers)
        is_small = len(whole) <= MOST_CALLS and len(readers) <= MOST_READERS
        if readers and is_computed and is_small and not is_result and tensor_of(node) is not None:
            ends.append(node)
    return sorted(ends, key=list(graph.nodes).index)


def _reads_placeholder(node: Node) -> bool:
    return any(n.op == "placeholder" for each in _cone(node) for n in each.all_input_nodes)


def _cone(node: Node) -> list[Node]:
    """The calls that the node's value takes, in the graph's order."""
    cone: set[Node] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current.op == "call_function" and current not in cone:
            cone.add(current)
            stack.extend(current.all_input_nodes)
    return [each for each in node.graph.nodes if each in cone]


def _move(graph: Graph, parameters: Collection[str]) -> int:
    count = 0
    for node in _work(graph, parameters):
        whole = _cone(node)
        if all(FOLLOWS_READER in each.meta for each in whole):
            continue
        for reader in [user for user in node.users if not is_lasting(user, parameters)]:
            with graph.inserting_before(reader):
                copies = _copied(graph, whole)
            reader.replace_input_with(node, copies[node])
            count += 1
    return count


def _copied(graph: Graph, nodes: Sequence[Node]) -> dict[Node, Node]:
    copies: dict[Node, Node] = {}
    for each in nodes:
        copies[each] = graph.node_copy(each, lambda source: copies.get(source, source))
        copies[each].meta = {**each.meta, FOLLOWS_READER: True}
    return copies


def _remaining(graph: Graph, parameters: Collection[str]) -> Iterator[Node]:
    """Work that more than one reader has, or that was not moved."""
    for node in _work(graph, parameters):
        readers = [user for user in node.users if not is_lasting(user, parameters)]
        if len(readers) > 1 or FOLLOWS_READER not in node.meta:
            yield node


PARAMETERS_TO_READERS = Pass("work on parameters to its readers", _move, _remaining)
