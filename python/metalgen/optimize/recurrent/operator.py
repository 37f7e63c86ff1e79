"""Recurrent layers as one operator of the captured graph, however long the sequences are.

PyTorch would decompose nn.LSTM, nn.GRU and nn.RNN into operators for every step, a new graph for
each length. The operator keeps the call whole, and ATen computes it as eager does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils.flop_counter import register_flop_formula

from metalgen.ops.recurrent import Kind
from metalgen.optimize.recurrent.allowing import result_shapes

_FUNCTIONS: dict[Kind, Callable[..., Any]] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}


@torch.library.custom_op("metalgen_graph::recurrent", mutates_args=())
def _recurrent(
    x: Tensor,
    state: list[Tensor],
    weights: list[Tensor],
    kind: str,
    has_biases: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> list[Tensor]:
    function = _FUNCTIONS[kind]  # type: ignore[index]
    initial = tuple(state) if kind == "lstm" else state[0]
    options = (layers, 0.0, False, bidirectional, batch_first)
    return list(function(x, initial, weights, has_biases, *options))


@_recurrent.register_fake
def _(
    x: Tensor,
    state: list[Tensor],
    weights: list[Tensor],
    kind: str,
    has_biases: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> list[Tensor]:
    return result_shapes(x, state, bidirectional, batch_first)


RECURRENT = torch.ops.metalgen_graph.recurrent.default


@register_flop_formula(torch.ops.metalgen_graph.recurrent)
def _flops(x: Any, state: Any, weights: Any, *_: Any, **__: Any) -> int:
    """Two for each weight, step and sequence: the products, as for other operators."""
    steps = x[0] * x[1]
    return sum(2 * steps * shape[0] * shape[1] for shape in weights if len(shape) == 2)


def keep_recurrent(module: GraphModule) -> GraphModule:
    """Put the operator in place of PyTorch's functions, where nothing is dropped out.

    Packed sequences never get here: Dynamo leaves them to eager.
    """
    calls = [node for node in module.graph.nodes if _kind_of(node) is not None]
    for node in calls:
        x, state, weights, has_biases, layers, _, _, bidirectional, batch_first = node.args
        states = list(state) if isinstance(state, list | tuple) else [state]
        options = (_kind_of(node), has_biases, layers, bidirectional, batch_first)
        with module.graph.inserting_before(node):
            kept = module.graph.call_function(RECURRENT, (x, states, list(weights), *options))
        node.replace_all_uses_with(kept)
        module.graph.erase_node(node)
    if calls:
        module.recompile()
    return module


def _kind_of(node: Node) -> Kind | None:
    found = next((kind for kind, call in _FUNCTIONS.items() if node.target is call), None)
    if node.op != "call_function" or found is None or len(node.args) != 9 or node.kwargs:
        return None
    layers, dropout, train = node.args[4:7]
    draws = train and layers != 1 and dropout != 0
    return None if draws else found
