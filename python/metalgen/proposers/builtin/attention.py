"""Attention kept whole by whoever captured the graph, as two products with a softmax between."""

from __future__ import annotations

import math
from typing import Any

import torch

from metalgen.proposers.builtin.contractions import matrix_product
from metalgen.proposers.builtin.expressions import Expr, IndexValue, apply, convert, number
from metalgen.proposers.builtin.graph import aligned, named, pointwise, reduction, view
from metalgen.proposers.builtin.indexing import Index
from metalgen.proposers.builtin.reductions import size_value
from metalgen.proposers.builtin.registry import Call, Result, lowers
from metalgen.proposers.builtin.tensors import Idx, Pointwise, Read, Tensor

_LOWEST = torch.finfo(torch.float32).min


@lowers("metalgen_graph::scaled_dot_product_attention")
def lower_attention(call: Call) -> Result:
    query, key, value, mask, causal, scale, _ = call.args
    heads = query.shape[1]
    name = call.name
    keys = _transposed(_shared(key, heads))
    product = matrix_product(f"{name}_scores", query, keys, torch.float32)
    scores = _masked(name, product, mask, bool(causal), _factor(scale, query.shape[-1]))
    weights = _weights(name, scores)
    return matrix_product(name, weights, _shared(value, heads), call.dtype)


def _factor(scale: Any, size: Index) -> Expr:
    return number(float(scale)) if scale is not None else apply("rsqrt", size_value(size))


def _shared(tensor: Tensor, heads: Index) -> Tensor:
    """Keys or values for every head, where several heads have them in common."""
    batch, own, length, size = tensor.shape
    if own == heads:
        return tensor
    share = heads // own
    shape = (batch, heads, length, size)
    return view(tensor, shape, lambda index: (index[0], index[1] // share, *index[2:]))


def _transposed(tensor: Tensor) -> Tensor:
    *lead, rows, columns = tensor.shape
    return view(tensor, (*lead, columns, rows), lambda index: (*index[:-2], index[-1], index[-2]))


def _masked(name: str, scores: Tensor, mask: Tensor | None, causal: bool, factor: Expr) -> Tensor:
    """scores · factor + mask; -infinity where the query must not see the key."""
    hidden = number(-math.inf)

    def body(index: Idx, read: Read) -> Expr:
        score = apply("mul", read(scores, index), factor)
        if mask is not None:
            there = read(mask, aligned(index, mask.shape))
            if mask.dtype == torch.bool:
                score = apply("select", there, score, hidden)
            else:
                score = apply("add", score, convert(there, "float"))
        if causal:
            query, key = (IndexValue("uint", at) for at in index[-2:])
            score = apply("select", apply("le", key, query, type_="bool"), score, hidden)
        return named(score, f"{name}_masked")

    sources = (scores,) if mask is None else (scores, mask)
    return Pointwise(f"{name}_masked", scores.shape, torch.float32, sources, body, label="mask")


def _weights(name: str, scores: Tensor) -> Tensor:
    """The softmax of each row; nothing where a row sees no key."""
    last = (len(scores.shape) - 1,)
    largest = reduction(
        "max", scores, last, torch.float32, keep=True, name=f"{name}_max", label="attention"
    )

    def exponential(score: Expr, most: Expr) -> Expr:
        # Where no key is seen, the largest score is -infinity, and so is every other.
        finite = apply("max", most, number(_LOWEST))
        return apply("exp", apply("sub", score, finite))

    powers = pointwise(f"{name}_exp", scores.shape, torch.float32, [scores, largest], exponential)
    total = reduction("sum", powers, last, torch.float32, keep=True, name=f"{name}_sum")

    def share(power: Expr, whole: Expr) -> Expr:
        is_empty = apply("eq", whole, number(0.0), type_="bool")
        return apply("select", is_empty, number(0.0), apply("div", power, whole))

    return pointwise(
        f"{name}_weights", scores.shape, torch.float32, [powers, total], share, label="softmax"
    )
