"""How much arithmetic an operator does, as torch.utils.flop_counter counts it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry


def flops(nodes: Iterable[Node]) -> int:
    """Floating-point operations of products, convolutions and attention; others count as none.

    Open sizes count with those of the call that was captured.
    """
    return sum(map(_flops, nodes))


def _flops(node: Node) -> int:
    if not isinstance(node.target, torch._ops.OpOverload):
        return 0
    count = flop_registry.get(node.target.overloadpacket)
    if count is None:
        return 0
    args, kwargs, out = tree_map(_value, (node.args, node.kwargs, node))
    return int(_number(count(*args, **kwargs, out_val=out)))


def _value(given: Any) -> Any:
    return given.meta.get("val") if isinstance(given, Node) else given


def _number(count: Any) -> int:
    return int(count.node.hint) if isinstance(count, torch.SymInt) else int(count)
