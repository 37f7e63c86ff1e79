"""Finds scaled dot product attention in a captured graph: kept whole, or written out by hand."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.fx import Graph, Node

from metalgen.optimize.attention.operator import ATTENTION
from metalgen.optimize.attention.walk import (
    Walk,
    expands_nothing,
    is_rearranging,
    shape_of,
    swaps_last,
)

aten = torch.ops.aten
_PRODUCTS = (aten.bmm.default, aten.mm.default)
_LAST = (-1, 3, 2, 1)


@dataclass(frozen=True)
class Mask:
    """What is done to the scores: a tensor added, or `fill` put where a bool says so."""

    node: Node
    kind: Literal["added", "keeps", "hides"]
    fill: float = -torch.inf


@dataclass(frozen=True)
class Attention:
    """softmax(scale · query keyᵀ + mask) value, of which `output` is the result.

    Operands and result have (batch, heads, length, elements), `output` of fewer dimensions lacks
    the first ones. `inner` are the nodes that it replaces, `output` among them. `scale` None is
    1 / sqrt(elements).
    """

    output: Node
    query: Node
    key: Node
    value: Node
    inner: frozenset[Node]
    key_is_transposed: bool = False
    mask: Mask | None = None
    causal: bool = False
    scale: float | None = None
    is_safe: bool = False  # zeros for a query that sees no key


def find_attention(graph: Graph) -> list[Attention]:
    """Every attention in the graph whose insides nobody else reads; none shares a node."""
    return [found for node in graph.nodes if (found := _attention(node)) is not None]


def _attention(node: Node) -> Attention | None:
    if node.target is ATTENTION:
        return _kept(node)
    if node.target in _PRODUCTS:
        return _by_hand(node)
    return None


def _kept(node: Node) -> Attention | None:
    query, key, value, mask, causal, scale, _ = node.args
    if not (scale is None or isinstance(scale, int | float)) or not isinstance(causal, bool):
        return None
    assert isinstance(query, Node)
    assert isinstance(key, Node)
    assert isinstance(value, Node)
    known = None
    if isinstance(mask, Node):
        is_bool = mask.meta["val"].dtype == torch.bool
        known = Mask(mask, "keeps" if is_bool else "added")
    return Attention(
        node, query, key, value, frozenset([node]),
        mask=known, causal=causal, scale=scale, is_safe=True,
    )  # fmt: skip


def _by_hand(product: Node) -> Attention | None:
    """`product` as the last one: softmax(masked scores) times values."""
    walk = Walk()
    weights, value = product.args[:2]
    softmax = walk.behind(weights)
    if softmax is None or softmax.target is not aten._softmax.default:
        return None
    shape = shape_of(softmax)
    if softmax.args[1] not in (-1, len(shape) - 1) or not 2 <= len(shape) <= 4:
        return None
    scores = _scores(softmax.args[0], walk, shape)
    if scores is None or not walk.is_closed(softmax, scores.product):
        return None
    query, key = scores.product.args[:2]
    assert isinstance(query, Node)
    assert isinstance(key, Node)
    assert isinstance(value, Node)
    if not _has_own_dtype(scores.mask, query):
        return None
    operands = _operands(query, key, value, shape)
    if operands is None and scores.mask is not None and len(shape) == 4:
        return None  # it is not known which of the products belong to which mask
    query, key, value, is_transposed = operands or (query, key, value, True)
    (query, factor), (key, other) = _unscaled(query), _unscaled(key)
    output = _result(product, shape) if operands is not None else product
    inner = frozenset({*walk.seen, softmax, scores.product, product, output})
    return Attention(
        output, query, key, value, inner,
        key_is_transposed=is_transposed, mask=scores.mask, scale=scores.scale * factor * other,
    )  # fmt: skip


@dataclass(frozen=True)
class _Scores:
    product: Node
    scale: float = 1.0
    mask: Mask | None = None


def _scores(node: Any, walk: Walk, shape: tuple[Any, ...]) -> _Scores | None:
    """The product of queries and keys behind scales and at most one mask."""
    scale, mask = 1.0, None
    while True:
        source = walk.behind(node)
        if source is None:
            return None
        if source.target in _PRODUCTS:
            return _Scores(source, scale, mask)
        step = _scaled(source) or (_masked(source, shape) if mask is None else None)
        if step is None:
            return None
        walk.seen.add(source)
        node, factor, found = step
        if found is not None:
            # A mask is added to what was scaled before; what is scaled after would scale it too.
            if scale != 1.0:
                return None
            mask = found
        scale *= factor


Step = tuple[Any, float, Mask | None]


def _scaled(node: Node) -> Step | None:
    factor = node.args[1] if len(node.args) > 1 else None
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        return None
    if node.target in (aten.mul.Tensor, aten.mul.Scalar):
        return node.args[0], float(factor), None
    if node.target in (aten.div.Tensor, aten.div.Scalar) and factor and not node.kwargs:
        return node.args[0], 1 / float(factor), None
    return None


def _unscaled(operand: Node) -> tuple[Node, float]:
    """Queries or keys before they were scaled, where nobody else reads them scaled."""
    step = _scaled(operand) if len(operand.users) == 1 else None
    return (operand, 1.0) if step is None else (step[0], step[1])


def _masked(node: Node, shape: tuple[Any, ...]) -> Step | None:
    """A mask that is added, or where(condition, number, scores) either way round."""
    if node.target is aten.add.Tensor and not node.kwargs:
        left, right = node.args
        for scores, added in ((left, right), (right, left)):
            if _leads_to_product(scores) and _fits(added, shape, node.meta["val"].dtype):
                assert isinstance(added, Node)
                return scores, 1.0, Mask(added, "added")
    if node.target is aten.where.self:
        condition, there, elsewhere = node.args
        if not _fits(condition, shape, torch.bool):
            return None
        assert isinstance(condition, Node)
        if (fill := number_of(there)) is not None:
            return elsewhere, 1.0, _bool_mask(condition, "hides", fill)
        if (fill := number_of(elsewhere)) is not None:
            return there, 1.0, _bool_mask(condition, "keeps", fill)
    return None


def _bool_mask(condition: Node, kind: Literal["keeps", "hides"], fill: float) -> Mask:
    """The mask before it was negated, where it was."""
    if condition.target not in (aten.bitwise_not.default, aten.logical_not.default):
        return Mask(condition, kind, fill)
    (source,) = condition.args
    assert isinstance(source, Node)
    if source.meta["val"].dtype != torch.bool:
        return Mask(condition, kind, fill)
    return Mask(source, "hides" if kind == "keeps" else "keeps", fill)


def _fits(mask: Any, shape: tuple[Any, ...], dtype: torch.dtype) -> bool:
    if not isinstance(mask, Node) or not isinstance(mask.meta.get("val"), torch.Tensor):
        return False
    value: torch.Tensor = mask.meta["val"]
    return value.dtype == dtype and value.dim() <= len(shape)


def _has_own_dtype(mask: Mask | None, query: Node) -> bool:
    """Whether a mask that is added has the operands' dtype, as the kernels want it."""
    if mask is None or mask.kind != "added":
        return True
    own, wanted = (node.meta["val"].dtype for node in (mask.node, query))
    return bool(own == wanted)


def _leads_to_product(node: Any) -> bool:
    """Whether scores come from here, as far as scales and views are concerned."""
    while isinstance(node, Node) and node.op == "call_function":
        if node.target in _PRODUCTS:
            return True
        step = _scaled(node)
        if step is None and not is_rearranging(node):
            return node.target is aten.where.self and _any_leads(node.args[1:])
        node = node.args[0]
    return False


def _any_leads(nodes: Iterable[Any]) -> bool:
    return any(map(_leads_to_product, nodes))


def number_of(node: Any) -> float | None:
    """What a tensor that is one number everywhere holds."""
    if isinstance(node, int | float):
        return float(node)
    if not isinstance(node, Node):
        return None
    amount: Any = None
    if node.target is aten.scalar_tensor.default:
        amount = node.args[0]
    elif node.target in (aten.full.default, aten.full_like.default):
        amount = node.args[1]
    return float(amount) if isinstance(amount, int | float) else None


def _operands(
    query: Node, key: Node, value: Node, shape: tuple[Any, ...]
) -> tuple[Node, Node, Node, bool] | None:
    """The operands before they were flattened to three dimensions; None where they never had four.

    The last says whether the key still is transposed, (..., elements, keys).
    """
    if len(shape) != 4:
        return None
    wide_query, wide_key, wide_value = (_unflattened(x) for x in (query, key, value))
    if wide_query is None or wide_key is None or wide_value is None:
        return None
    straight = swaps_last(wide_key)
    if straight is None:
        return wide_query, wide_key, wide_value, True
    shared = _ungrouped(straight), _ungrouped(wide_value)
    if shape_of(shared[0])[1] == shape_of(shared[1])[1]:
        straight, wide_value = shared
    return wide_query, straight, wide_value, False


def _unflattened(node: Node) -> Node | None:
    """The tensor of four dimensions that was expanded, copied and viewed as three."""
    at: Any = node
    while isinstance(at, Node) and len(shape_of(at)) != 4 and is_rearranging(at):
        at = at.args[0]
    while isinstance(at, Node) and (at.target is aten.clone.default or expands_nothing(at)):
        at = at.args[0]
    return at if isinstance(at, Node) and len(shape_of(at)) == 4 else None


def _ungrouped(node: Node) -> Node:
    """Keys or values before they were repeated for every head of a group."""
    at: Any = node
    for target in (_VIEWS, (aten.clone.default,)):
        if isinstance(at, Node) and at.target in target:
            at = at.args[0]
    if not isinstance(at, Node) or at.target is not aten.expand.default or len(shape_of(at)) != 5:
        return node
    repeated = at.args[0]
    if not isinstance(repeated, Node) or repeated.target is not aten.unsqueeze.default:
        return node
    own = repeated.args[0]
    if repeated.args[1] not in (2, -3) or not isinstance(own, Node):
        return node
    return own


_VIEWS = (aten.view.default, aten._unsafe_view.default, aten.reshape.default)


def _result(product: Node, shape: tuple[Any, ...]) -> Node:
    """The view of the result with four dimensions, where nobody reads the one with three."""
    if len(product.users) != 1:
        return product
    (user,) = product.users
    is_whole = user.target in _VIEWS and shape_of(user)[:3] == shape[:3]
    if is_whole and len(shape_of(user)) == 4:
        return user
    return product


def region_of(attention: Attention) -> set[Node]:
    """Its nodes with the views and copies that nothing else needs, in front and behind."""
    nodes = set(attention.inner)
    last = attention.output
    while len(last.users) == 1 and _goes_on(next(iter(last.users))):
        last = next(iter(last.users))
        nodes.add(last)
    waiting = [source for node in nodes for source in node.all_input_nodes]
    while waiting:
        node = waiting.pop()
        if node in nodes or not _is_small(node) or not set(node.users) <= nodes:
            continue
        nodes.add(node)
        waiting.extend(node.all_input_nodes)
    # One of an operator's results is nothing without the operator.
    return {node for node in nodes if node.target is not operator.getitem or node.args[0] in nodes}


def _is_small(node: Node) -> bool:
    """Whether a node is worth having in the region although it is no part of the attention."""
    if node.op != "call_function":
        return False
    is_negation = node.target in (aten.bitwise_not.default, aten.logical_not.default)
    is_known = number_of(node) is not None or _scaled(node) is not None
    return is_rearranging(node) or is_known or is_negation


def _goes_on(node: Node) -> bool:
    return is_rearranging(node) and isinstance(node.meta.get("val"), torch.Tensor)
