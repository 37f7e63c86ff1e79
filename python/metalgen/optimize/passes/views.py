"""Views that follow views become one, those that change nothing none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch.fx import Graph, Node

from metalgen.optimize.passes.apply import Pass
from metalgen.optimize.passes.nodes import ATEN, call, is_call, tensor_of

_RESHAPES = (ATEN.view.default, ATEN._unsafe_view.default, ATEN.reshape.default)
_PERMUTE = ATEN.permute.default
_IDENTITIES = (
    *(*_RESHAPES, _PERMUTE, ATEN.expand.default, ATEN._to_copy.default, ATEN.alias.default),
    ATEN.lift_fresh_copy.default,  # of a constant, which nobody writes to
)


def _source(node: Node) -> Node:
    source = node.args[0]
    assert isinstance(source, Node)
    return source


def _is_identity(node: Node) -> bool:
    """Whether the node gives what it is given: elements, order, dtype, strides and device."""
    if not is_call(node, *_IDENTITIES) or not isinstance(node.args[0], Node):
        return False
    value, given = tensor_of(node), tensor_of(_source(node))
    if value is None or given is None or value.dtype != given.dtype:
        return False
    if value.device != given.device or _text(value) != _text(given):
        return False
    return node.target is not _PERMUTE or _order(node) == sorted(_order(node))


def _text(value: torch.Tensor) -> list[str]:
    return [str(size) for size in (*value.shape, *value.stride())]


def _order(node: Node) -> list[int]:
    order = node.args[1]
    assert isinstance(order, Sequence)
    return [int(axis) % len(order) for axis in order]  # type: ignore[arg-type]


def _is_doubled_permute(node: Node) -> bool:
    return is_call(node, _PERMUTE) and is_call(node.args[0], _PERMUTE)


def _is_doubled_reshape(node: Node) -> bool:
    """Reshapes of what lies in order: whatever was between, the last one can be made of it."""
    if not is_call(node, *_RESHAPES) or not is_call(node.args[0], *_RESHAPES):
        return False
    given = tensor_of(_source(_source(node)))
    return given is not None and all(isinstance(s, int) for s in given.shape) and _in_order(given)


def _in_order(value: torch.Tensor) -> bool:
    return value.is_contiguous()


def _identity(_: Graph, node: Node) -> Node:
    return _source(node)


def _one_permute(graph: Graph, node: Node) -> Node:
    inner = _source(node)
    order = [_order(inner)[axis] for axis in _order(node)]
    return call(graph, _PERMUTE, _source(inner), order)


def _one_reshape(graph: Graph, node: Node) -> Node:
    return call(graph, ATEN.view.default, _source(_source(node)), node.args[1])


_RULES: tuple[tuple[Callable[[Node], bool], Callable[[Graph, Node], Node]], ...] = (
    (_is_identity, _identity),
    (_is_doubled_permute, _one_permute),
    (_is_doubled_reshape, _one_reshape),
)


def _merge(graph: Graph, parameters: Collection[str]) -> int:
    count = 0
    # Two permutes may become one that changes nothing, so what was made is looked at again.
    while found := list(_remaining(graph, parameters)):
        for node in found:
            merged = next((merge for applies, merge in _RULES if applies(node)), None)
            if merged is not None:
                with graph.inserting_before(node):
                    node.replace_all_uses_with(merged(graph, node))
                count += 1
    return count


def _is_result_of_input(node: Node) -> bool:
    """A result must not become an input itself, which callers would see as one memory."""
    is_result = any(user.op == "output" for user in node.users)
    return is_result and _source(node).op != "call_function"


def _remaining(graph: Graph, _: Collection[str]) -> Iterator[Node]:
    for node in graph.nodes:
        is_merged = node.users and any(applies(node) for applies, _ in _RULES)
        if is_merged and not _is_result_of_input(node):
            yield node


MERGE_VIEWS = Pass("views into one", _merge, _remaining)
