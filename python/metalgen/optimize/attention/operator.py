"""Scaled dot product attention as one operator of the captured graph, whatever eager makes of it.

PyTorch chooses among several implementations while it captures, and decomposes what it chose. The
operator here keeps the call whole: regions see one node, and ATen computes it as eager does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import register_flop_formula, sdpa_flop

_NAMESPACE = "metalgen_graph"


@torch.library.custom_op(f"{_NAMESPACE}::scaled_dot_product_attention", mutates_args=())
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    grouped: bool,
) -> Tensor:
    result = scaled_dot_product_attention(
        query, key, value, mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )
    # An operator's result may not be one of its inputs' memory.
    return result.clone() if result.data_ptr() == value.data_ptr() else result


@_attention.register_fake
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    grouped: bool,
) -> Tensor:
    return scaled_dot_product_attention(
        query, key, value, mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )


ATTENTION = torch.ops.metalgen_graph.scaled_dot_product_attention.default


@register_flop_formula(torch.ops.metalgen_graph.scaled_dot_product_attention)
def _flops(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any
) -> int:
    heads = query[1]
    keys, values = ((x[0], heads, *x[2:]) for x in (key, value))  # heads share them
    count: int = sdpa_flop(query, keys, values)
    return count


_PARAMETERS = (
    *("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
    *("scale", "enable_gqa"),
)


def keep_attention(module: GraphModule) -> GraphModule:
    """Put the operator in place of PyTorch's function; a copy, which is `module` without any.

    For inference: the operator has no gradient. Left alone are attention with dropout, and that of
    other than four dimensions, which becomes products and a softmax.
    """
    calls = [node for node in module.graph.nodes if _is_plain(node)]
    for node in calls:
        given = _arguments(node)
        options = given.get("is_causal", False), given.get("scale"), given.get("enable_gqa", False)
        operands = (*(given[name] for name in _PARAMETERS[:3]), given.get("attn_mask"))
        with module.graph.inserting_before(node):
            operands = tuple(_autocast(operand, node) for operand in operands)
            kept = module.graph.call_function(ATTENTION, (*operands, *options))
        kept.meta = dict(node.meta)
        node.replace_all_uses_with(kept)
        module.graph.erase_node(node)
    if calls:
        module.recompile()
    return module


def _autocast(operand: Any, result: Node) -> Any:
    """The operand in the dtype of the result: autocast converts it, but not for our operator."""
    if not isinstance(operand, Node):
        return operand
    value, wanted = (node.meta.get("example_value") for node in (operand, result))
    if not isinstance(value, Tensor) or not isinstance(wanted, Tensor):
        return operand
    if not value.is_floating_point() or value.dtype == wanted.dtype:
        return operand
    return result.graph.call_method("to", (operand, wanted.dtype))


def as_eager(module: GraphModule) -> GraphModule:
    """The graph with PyTorch's own function again, which runs without the operator's overhead."""
    if not module.graph.find_nodes(op="call_function", target=ATTENTION):
        return module
    copy = Graph()
    copy.output(copy.graph_copy(module.graph, {}))
    for node in copy.find_nodes(op="call_function", target=ATTENTION):
        *operands, causal, scale, grouped = node.args
        node.target, node.args = scaled_dot_product_attention, tuple(operands)
        node.kwargs = {"is_causal": causal, "scale": scale, "enable_gqa": grouped}
    return GraphModule(module, copy)


def _arguments(node: Node) -> dict[str, Any]:
    return {**dict(zip(_PARAMETERS, node.args, strict=False)), **node.kwargs}


def _is_plain(node: Node) -> bool:
    if node.op != "call_function" or node.target is not scaled_dot_product_attention:
        return False
    given = _arguments(node)
    if not isinstance(given.get("dropout_p", 0.0), int | float) or given.get("dropout_p"):
        return False
    shapes = [_shape(given[name]) for name in _PARAMETERS[:3]]
    return all(shape is not None and len(shape) == 4 for shape in shapes)


def _shape(node: Any) -> torch.Size | None:
    value = node.meta.get("example_value") if isinstance(node, Node) else None
    return value.shape if isinstance(value, Tensor) else None
