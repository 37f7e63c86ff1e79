"""Conversions of dtype get one name, whichever decomposition wrote them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch.fx import Graph, Node

from metalgen.optimize.passes.apply import Pass
from metalgen.optimize.passes.nodes import ATEN, call, is_call

_PRIMITIVE = torch.ops.prims.convert_element_type.default


def _rename(graph: Graph, parameters: Collection[str]) -> int:
    found = list(_remaining(graph, parameters))
    for node in found:
        source, dtype = node.args
        with graph.inserting_before(node):
            node.replace_all_uses_with(call(graph, ATEN._to_copy.default, source, dtype=dtype))
    return len(found)


def _remaining(graph: Graph, _: Collection[str]) -> Iterator[Node]:
    return (node for node in graph.nodes if node.users and is_call(node, _PRIMITIVE))


ONE_CONVERSION = Pass("conversions under one name", _rename, _remaining)
