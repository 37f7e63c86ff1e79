"""The operator that a region is built around, and what follows it in its own kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch.fx import Node

from metalgen.ops.activations import ACTIVATIONS
from metalgen.optimize.contender import RegionGraph
from metalgen.optimize.passes.nodes import ATEN, is_call, tensor_of

CONVOLUTION = ATEN.convolution.default
PRODUCTS = (ATEN.mm.default, ATEN.addmm.default, ATEN.bmm.default, ATEN.baddbmm.default)
AFTER_RESIDUAL = 64  # as metal/epilogue.h has it
_RESHAPES = (ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default)
_NAMES = {
    ATEN.relu.default: "relu",
    ATEN.sigmoid.default: "sigmoid",
    ATEN.tanh.default: "tanh",
    ATEN.hardswish.default: "hardswish",
    ATEN.silu.default: "silu",
}


@dataclass(frozen=True)
class Heavy:
    """A product or convolution; `end` is the last node that its kernel computes.

    end = activation(node + bias) + residual, `activation` a number as metal/activation.h and
    metal/epilogue.h have it. `bias` holds one entry for each column or output channel.
    """

    node: Node
    end: Node
    bias: Node | None = None
    residual: Node | None = None
    activation: int = 0

    @property
    def is_convolution(self) -> bool:
        """Else it is a product."""
        return self.node.target is CONVOLUTION

    @property
    def operands(self) -> tuple[Node, Node]:
        """Input and weight of a convolution, left and right of a product."""
        first = 1 if self.node.target in (ATEN.addmm.default, ATEN.baddbmm.default) else 0
        left, right = self.node.args[first : first + 2]
        assert isinstance(left, Node)
        assert isinstance(right, Node)
        return left, right

    @property
    def dtype(self) -> torch.dtype:
        """Of the operands and the result."""
        dtype: torch.dtype = self.node.meta["val"].dtype
        return dtype


def find_heavy(region: RegionGraph) -> Heavy | None:
    """The region's one product or convolution with what can follow it; None without one."""
    found = [n for n in region.module.graph.nodes if is_call(n, CONVOLUTION, *PRODUCTS)]
    if len(found) != 1 or found[0].kwargs:
        return None
    heavy = _begin(found[0])
    if heavy is None or not _is_of_one_dtype(heavy):
        return None
    outputs = set(region.outputs)
    while heavy.end not in outputs and (longer := _extended(heavy)) is not None:
        heavy = longer
    return heavy


def channels_last(heavy: Heavy, outputs: Collection[Node]) -> Heavy | None:
    """The same up to the permutation that puts channels last; None where it does not follow."""
    users = list(heavy.end.users)
    if not heavy.is_convolution or heavy.end in outputs or len(users) != 1:
        return None
    rank = heavy.node.meta["val"].dim()
    order = [0, *range(2, rank), 1]
    (user,) = users
    is_it = is_call(user, ATEN.permute.default) and user.args[1] == order
    return replace(heavy, end=user) if is_it else None


def _begin(node: Node) -> Heavy | None:
    """The node alone; None where its own bias fits no kernel."""
    if node.target is CONVOLUTION:
        bias = node.args[2]
        assert bias is None or isinstance(bias, Node)
        return None if node.args[6] else Heavy(node, node, bias)
    if node.target in (ATEN.mm.default, ATEN.bmm.default):
        return Heavy(node, node)
    added = node.args[0]
    assert isinstance(added, Node)
    return _with_added(Heavy(node, node), added)


def _with_added(heavy: Heavy, added: Node) -> Heavy | None:
    given, value = tensor_of(added), heavy.end.meta["val"]
    if given is None or given.dtype != value.dtype:
        return None
    is_bare = heavy.residual is None and heavy.activation == 0
    if is_bare and heavy.bias is None and _is_bias(heavy, given):
        return replace(heavy, bias=added)
    if heavy.residual is None and _text(given) == _text(value):
        return replace(heavy, residual=added)
    return None


def _text(value: torch.Tensor) -> list[str]:
    """The shape; comparing open sizes themselves would fix them."""
    return [str(size) for size in value.shape]


def _is_bias(heavy: Heavy, given: torch.Tensor) -> bool:
    """Whether there is an entry for each column, or for each output channel."""
    own, value = heavy.node.meta["val"], heavy.end.meta["val"]
    if heavy.is_convolution:
        trailing = [str(own.shape[1]), *["1"] * (own.dim() - 2)]
        shape = _text(given)
        is_aligned = shape in (trailing, ["1", *trailing])
        return is_aligned and value.dim() == own.dim()
    if given.dim() == 0 or _text(given)[:-1] != ["1"] * (given.dim() - 1):
        return False
    return _text(given)[-1] == _text(own)[-1] == _text(value)[-1]


def _is_of_one_dtype(heavy: Heavy) -> bool:
    given = [*heavy.operands, *([heavy.bias] if heavy.bias is not None else [])]
    dtypes = {node.meta["val"].dtype for node in (heavy.node, *given)}
    return len(dtypes) == 1 and dtypes <= {torch.float32, torch.float16, torch.bfloat16}


def _extended(heavy: Heavy) -> Heavy | None:
    """One more operator in the kernel; None where the next one does not fit."""
    users = list(heavy.end.users)
    if len(users) == 2:
        return _silu(heavy, users)
    if len(users) != 1 or users[0].op != "call_function":
        return None
    (user,) = users
    if user.target in _RESHAPES:
        return replace(heavy, end=user)
    if is_call(user, ATEN.add.Tensor) and not user.kwargs:
        return _added(heavy, user)
    name = _activation(user)
    return None if name is None else _activated(heavy, user, name)


def _added(heavy: Heavy, user: Node) -> Heavy | None:
    left, right = user.args[:2]
    other = right if left is heavy.end else left
    if not isinstance(other, Node) or other is heavy.end:
        return None
    value = user.meta["val"]
    if value.dtype != heavy.dtype or _text(value) != _text(heavy.end.meta["val"]):
        return None
    more = _with_added(heavy, other)
    return None if more is None else replace(more, end=user)


def _activation(user: Node) -> str | None:
    if is_call(user, ATEN.gelu.default):
        approximate = user.kwargs.get("approximate", "none")
        return "gelu_tanh" if approximate == "tanh" else "gelu"
    known: Callable[[object], str | None] = _NAMES.get  # type: ignore[assignment]
    return known(user.target)


def _silu(heavy: Heavy, users: list[Node]) -> Heavy | None:
    """x sigmoid(x), as it is decomposed."""
    for gate, user in (users, users[::-1]):
        is_gate = is_call(gate, ATEN.sigmoid.default) and list(gate.users) == [user]
        if is_gate and is_call(user, ATEN.mul.Tensor) and set(user.args) == {heavy.end, gate}:
            return _activated(heavy, user, "silu")
    return None


def _activated(heavy: Heavy, user: Node, name: str) -> Heavy | None:
    if heavy.activation != 0 or user.meta["val"].dtype != heavy.dtype:
        return None
    number = 1 + ACTIVATIONS.index(name) + (AFTER_RESIDUAL if heavy.residual is not None else 0)
    return replace(heavy, end=user, activation=number)
