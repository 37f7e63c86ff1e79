"""Numbers and tensors of a module's own code as part of what a pattern computes.

A number is itself, a tensor its dtype, shape and the SHA-256 of its bytes. A model may hold such a
number in a tensor of its own: torch.compile keeps Python numbers of a module open so.
"""

from __future__ import annotations

import hashlib
import operator
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import Node

_CONVERSIONS = (
    torch.ops.prims.convert_element_type.default,
    torch.ops.aten._to_copy.default,
)

Expected = Any  # float | {"dtype": ..., "shape": ..., "sha256": ...}


def constant_of(value: Tensor) -> Expected:
    """A tensor as data."""
    with unset_fake_temporarily():  # while a graph is captured
        whole = value.detach().cpu().contiguous()
        content = whole.reshape(-1).view(torch.uint8) if whole.numel() else whole
        digest = hashlib.sha256(content.numpy().tobytes()).hexdigest()
    dtype = str(value.dtype).removeprefix("torch.")
    return {"dtype": dtype, "shape": list(value.shape), "sha256": digest}


def may_hold(node: Node, expected: Expected) -> bool:
    """Whether the node may have that value, as far as the graph tells."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return False
    if isinstance(expected, dict):
        return node.op != "call_function" and _may_be_tensor(node, value, expected)
    return _is_open_number(node)


def _may_be_tensor(node: Node, value: Tensor, expected: Expected) -> bool:
    module = node.graph.owning_module
    if node.op == "get_attr" and module is not None:
        return holds(operator.attrgetter(str(node.target))(module), expected)
    dtype = str(value.dtype).removeprefix("torch.")
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    return (dtype, sizes) == (expected["dtype"], expected["shape"])


def _is_open_number(node: Node) -> bool:
    """A number that torch.compile keeps open: a tensor that it is given, perhaps converted."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or value.dim() or not value.is_floating_point():
        return False
    if value.device.type != "cpu":
        return False
    if node.op == "placeholder":
        return True
    source = node.args[0] if node.target in _CONVERSIONS else None
    return isinstance(source, Node) and _is_open_number(source)


def holds(value: object, expected: Expected) -> bool:
    """Whether it is that constant: a number to the digits that it has, a tensor to the bit."""
    if isinstance(expected, dict):
        return isinstance(value, Tensor) and constant_of(value) == expected
    if not isinstance(value, Tensor):
        return False
    return value.item() == torch.tensor(expected, dtype=value.dtype).item()
