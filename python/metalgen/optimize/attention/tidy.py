"""Makes a captured graph's numbers and sizes such that neighbouring regions need not share them."""

from __future__ import annotations

import torch
from torch.fx import Graph, Node

from metalgen.optimize.attention.recognise import number_of


def tidy(graph: Graph) -> None:
    """One node for each size, none of them read off a result; each constant for one reader."""
    _join_sizes(graph)
    _separate_numbers(graph)
    graph.lint()


def _join_sizes(graph: Graph) -> None:
    known: dict[str, Node] = {}
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if not isinstance(value, torch.SymInt):
            continue
        first = _given_size(node) or known.setdefault(str(value.node.expr), node)
        if first is not node and node.op == "call_function":
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _given_size(node: Node) -> Node | None:
    """What a view was told a size to be, which is then read off the view."""
    if node.target is not torch.ops.aten.sym_size.int:
        return None
    source, dim = node.args
    assert isinstance(source, Node)
    if source.target not in (torch.ops.aten.view.default, torch.ops.aten.expand.default):
        return None
    size = source.args[1][dim]  # type: ignore[index]
    return size if isinstance(size, Node) else None


def _separate_numbers(graph: Graph) -> None:
    """Such as the -infinity of masks, which capture writes once for all layers."""
    for node in list(graph.nodes):
        if node.op != "call_function" or node.all_input_nodes or number_of(node) is None:
            continue
        for user in list(node.users)[1:]:
            with graph.inserting_before(user):
                user.replace_input_with(node, graph.node_copy(node))
