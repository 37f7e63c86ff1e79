"""What passes ask of nodes, and how they make new ones."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.utils._pytree import tree_map

ATEN = torch.ops.aten


def call(graph: Graph, target: Any, *args: Any, **kwargs: Any) -> Node:
    """A new call at the graph's insertion point, its fake value computed from its arguments'."""
    node = graph.call_function(target, args, kwargs)
    given, named = tree_map(_value, (args, kwargs))
    node.meta["val"] = target(*given, **named)
    return node


def _value(given: Any) -> Any:
    return given.meta["val"] if isinstance(given, Node) else given


def is_call(node: object, *targets: Any) -> bool:
    """Whether the node calls one of these operators."""
    return isinstance(node, Node) and node.op == "call_function" and node.target in targets


def tensor_of(node: Node) -> torch.Tensor | None:
    """The node's fake tensor, None where it gives something else."""
    value = node.meta.get("val")
    return value if isinstance(value, torch.Tensor) else None


def is_lasting(node: Node, parameters: Collection[str]) -> bool:
    """Whether the node depends on parameters and constants alone."""
    seen: set[Node] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.op == "placeholder" and current.name not in parameters:
            return False
        if current.op == "call_function" and not is_pure(current):
            return False
        stack.extend(current.all_input_nodes)
    return True


def is_pure(node: Node) -> bool:
    """Whether the call gives the same results for the same arguments and changes nothing."""
    if node.target is operator.getitem:
        return True
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        return False
    return node.target.namespace in ("aten", "prims") and not node.target._schema.is_mutable


def is_view(node: Node) -> bool:
    """Whether the node only looks at memory that is already there."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target.is_view
