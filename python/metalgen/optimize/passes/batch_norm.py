"""Batch normalisation by kept statistics becomes part of the weights before it.

    (w x + b - mean) scale + beta = (w scale) x + (b - mean) scale + beta
    scale = gamma / sqrt(variance + epsilon)

The new weights depend on parameters alone: plans make them once, and again when one has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from operator import getitem

from torch.fx import Graph, Node

from metalgen.optimize.passes.apply import Pass
from metalgen.optimize.passes.nodes import ATEN, call, is_call, is_lasting

_NORM = ATEN._native_batch_norm_legit_no_training.default
_CONVOLUTION = ATEN.convolution.default
_PRODUCTS = (ATEN.addmm.default, ATEN.mm.default)


@dataclass(frozen=True)
class _Match:
    """What a batch norm and the weights before it are; `value` is the norm's result."""

    heavy: Node
    norm: Node
    value: Node

    @property
    def weight(self) -> Node:
        position = 2 if self.heavy.target is ATEN.addmm.default else 1
        weight = self.heavy.args[position]
        assert isinstance(weight, Node)
        return weight

    @property
    def bias(self) -> object:
        if self.heavy.target is _CONVOLUTION:
            return self.heavy.args[2]
        return self.heavy.args[0] if self.heavy.target is ATEN.addmm.default else None


def _matches(graph: Graph, parameters: Collection[str]) -> Iterator[_Match]:
    for norm in graph.find_nodes(op="call_function", target=_NORM):
        heavy = norm.args[0]
        values = list(norm.users)
        if not is_call(heavy, _CONVOLUTION, *_PRODUCTS) or len(heavy.users) != 1:
            continue
        if len(values) != 1 or not is_call(values[0], getitem) or values[0].args[1] != 0:
            continue
        match = _Match(heavy, norm, values[0])
        given = [match.weight, match.bias, *norm.args[1:5]]
        if heavy.kwargs or not all(_is_kept(each, parameters) for each in given):
            continue
        if _is_one_bias(match.bias, norm):
            yield match


def _is_kept(given: object, parameters: Collection[str]) -> bool:
    return given is None or (isinstance(given, Node) and is_lasting(given, parameters))


def _is_one_bias(bias: object, norm: Node) -> bool:
    """addmm takes a whole matrix, too."""
    channels = norm.meta["val"][0].shape[1]
    return not isinstance(bias, Node) or tuple(bias.meta["val"].shape) == (channels,)


def _fold(graph: Graph, parameters: Collection[str]) -> int:
    count = 0
    for match in list(_matches(graph, parameters)):
        with graph.inserting_before(match.norm):  # where all that it reads is there
            scale = _scale(graph, match.norm)
            weight = _scaled_weight(graph, match, scale)
            bias = _shifted_bias(graph, match, scale)
            folded = _FORMS[match.heavy.target](graph, match.heavy, weight, bias)
        match.value.replace_all_uses_with(folded)
        count += 1
    return count


def _scale(graph: Graph, norm: Node) -> Node:
    _, gamma, _, _, variance, _, epsilon = norm.args
    inverse = call(graph, ATEN.rsqrt.default, call(graph, ATEN.add.Tensor, variance, epsilon))
    return inverse if gamma is None else call(graph, ATEN.mul.Tensor, inverse, gamma)


def _scaled_weight(graph: Graph, match: _Match, scale: Node) -> Node:
    """Each output's weights multiplied by its scale, in the weight's own dtype."""
    weight, heavy = match.weight, match.heavy
    shape = list(weight.meta["val"].shape)
    if heavy.target is not _CONVOLUTION:
        factors, parts = [1, -1], shape
    elif heavy.args[6]:  # transposed: (inputs, outputs of a group, ...)
        groups = heavy.args[8]
        assert isinstance(groups, int)
        parts = [groups, shape[0] // groups, *shape[1:]]
        factors = [groups, 1, shape[1], *[1] * len(shape[2:])]
    else:
        factors, parts = [-1, *[1] * len(shape[1:])], shape
    spread = call(graph, ATEN.view.default, scale, factors)
    apart = weight if parts == shape else call(graph, ATEN.view.default, weight, parts)
    scaled = _as(graph, call(graph, ATEN.mul.Tensor, apart, spread), weight)
    return scaled if parts == shape else call(graph, ATEN.view.default, scaled, shape)


def _shifted_bias(graph: Graph, match: _Match, scale: Node) -> Node:
    _, _, beta, mean, *_ = match.norm.args
    if match.bias is None:
        moved = call(graph, ATEN.neg.default, mean)
    else:
        moved = call(graph, ATEN.sub.Tensor, match.bias, mean)
    shifted = call(graph, ATEN.mul.Tensor, moved, scale)
    if beta is not None:
        shifted = call(graph, ATEN.add.Tensor, shifted, beta)
    return _as(graph, shifted, match.weight)


def _as(graph: Graph, node: Node, like: Node) -> Node:
    dtype = like.meta["val"].dtype
    if node.meta["val"].dtype == dtype:
        return node
    return call(graph, ATEN._to_copy.default, node, dtype=dtype)


def _convolution(graph: Graph, heavy: Node, weight: Node, bias: Node) -> Node:
    return _like(heavy, call(graph, _CONVOLUTION, heavy.args[0], weight, bias, *heavy.args[3:]))


def _addmm(graph: Graph, heavy: Node, weight: Node, bias: Node) -> Node:
    left = heavy.args[1] if heavy.target is ATEN.addmm.default else heavy.args[0]
    return _like(heavy, call(graph, ATEN.addmm.default, bias, left, weight))


def _like(heavy: Node, node: Node) -> Node:
    node.meta["val"] = heavy.meta["val"]
    return node


_FORMS: dict[object, Callable[[Graph, Node, Node, Node], Node]] = {
    _CONVOLUTION: _convolution,
    **dict.fromkeys(_PRODUCTS, _addmm),
}


def _remaining(graph: Graph, parameters: Collection[str]) -> Iterator[Node]:
    return (match.norm for match in _matches(graph, parameters))


FOLD_BATCH_NORM = Pass("batch norm into weights", _fold, _remaining)
