"""Steps from a node towards what it was computed from, past views, copies and conversions."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

aten = torch.ops.aten
_COPIES = (aten.clone.default, aten.alias.default, aten.detach.default, aten.expand.default)
_VIEWS = (
    *(aten.view.default, aten._unsafe_view.default, aten.reshape.default),
    *(aten.permute.default, aten.transpose.int, aten.unsqueeze.default, aten.slice.Tensor),
    *(aten.squeeze.dim, aten.squeeze.dims, aten.select.int, aten.t.default),
    *(aten.split_with_sizes.default, aten.split.Tensor, aten.unbind.int),
)
_CONVERSIONS = (aten._to_copy.default, torch.ops.prims.convert_element_type.default)


def is_rearranging(node: Node) -> bool:
    """Whether the node only gives its first input's elements another place."""
    return node.target in (*_COPIES, *_VIEWS, operator.getitem)


def shape_of(node: Node) -> tuple[Any, ...]:
    """Sizes as numbers or, where they are open, as expressions, which compare without a guard."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return ()
    return tuple(size.node.expr if isinstance(size, torch.SymInt) else size for size in value.shape)


def expands_nothing(node: Node) -> bool:
    """Whether the node expands to the sizes that there are; open sizes are never 1."""
    if node.target is not aten.expand.default or not isinstance(node.args[0], Node):
        return False
    own, source = shape_of(node), shape_of(node.args[0])
    pairs = zip(own, source, strict=False)
    return len(own) == len(source) and all(old != 1 or new == 1 for new, old in pairs)


def swaps_last(node: Node) -> Node | None:
    """What `node` is with its last two dimensions swapped; None for all else."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node):
        return None
    rank = len(shape_of(node))
    if node.target is aten.transpose.int:
        first, second = (dim % rank for dim in node.args[1:])  # type: ignore[operator]
        return source if {first, second} == {rank - 1, rank - 2} else None
    if node.target is aten.permute.default:
        order = [dim % rank for dim in node.args[1]]  # type: ignore[union-attr, operator]
        return source if order == [*range(rank - 2), rank - 1, rank - 2] else None
    return None


@dataclass
class Walk:
    """Nodes passed so far; every one must be read by nobody outside, `is_closed` says."""

    seen: set[Node] = field(default_factory=set)

    def behind(self, node: Any) -> Node | None:
        """The first node that computes something, past what keeps the order of elements."""
        while isinstance(node, Node) and node.op == "call_function":
            if not _keeps_order(node):
                return node
            self.seen.add(node)
            node = node.args[0]
        return None

    def is_closed(self, *more: Node) -> bool:
        """Whether each node passed, and each of `more`, has one reader."""
        return all(len(node.users) == 1 for node in (*self.seen, *more))


_IN_ORDER = (
    *_COPIES,
    *_CONVERSIONS,
    *(aten.view.default, aten._unsafe_view.default, aten.reshape.default),
)


def _keeps_order(node: Node) -> bool:
    """Views that only split or join the dimensions in front, and copies of all elements."""
    if node.target not in _IN_ORDER or not node.args or not isinstance(node.args[0], Node):
        return False
    own, source = shape_of(node), shape_of(node.args[0])
    is_expanded = node.target is aten.expand.default and not expands_nothing(node)
    return own[-2:] == source[-2:] and not is_expanded
