"""Cuts long reductions with few results into partial ones, so that many threadgroups share them."""

from __future__ import annotations

import torch

from metalgen.proposers.builtin.division import flatten, is_less, unflatten
from metalgen.proposers.builtin.expressions import Constant, Expr, IndexValue, apply, compute_type
from metalgen.proposers.builtin.indexing import Index, product
from metalgen.proposers.builtin.tensors import Idx, Read, Reduction

IDENTITIES: dict[str, float] = {
    "sum": 0,
    "prod": 1,
    "max": -float("inf"),
    "min": float("inf"),
    "any": 0,
    "all": 1,
}
LONG = 16384
CHUNK = 4096
MAX_CHUNKS = 256


def identity(kind: str, type_: str) -> Constant:
    """What leaves a reduction's result as it is."""
    value = IDENTITIES[kind]
    if type_ == "bool":
        return Constant("bool", value > 0)
    if type_ == "float":
        return Constant("float", value)
    limit = 2**31 if type_ == "int" else 2**63
    extremes = {-float("inf"): -limit, float("inf"): limit - 1}
    return Constant(type_, int(extremes.get(value, value)))


def split_reduction(tensor: Reduction) -> Reduction:
    """The same reduction over partial results, where that gives the device enough to do."""
    rows, length = product(tensor.shape).hint, product(tensor.inner)
    if tensor.kind not in IDENTITIES or tensor.overlaps:
        return tensor
    if length.hint < LONG or rows * 256 >= length.hint:
        return tensor
    chunks = Index.of(min(MAX_CHUNKS, max(2, length.hint // CHUNK)))
    partial = _partial(tensor, chunks, length)

    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        return read(partial, (*outer, *inner))

    return Reduction(
        tensor.name,
        tensor.shape,
        tensor.dtype,
        kind=tensor.kind,
        inner=(chunks,),
        sources=(partial,),
        body=body,
        label=tensor.label,
    )


def _partial(tensor: Reduction, chunks: Index, length: Index) -> Reduction:
    step = (length + chunks - 1) // chunks
    type_ = compute_type(tensor.dtype)

    def body(outer: Idx, inner: Idx, read: Read) -> Expr:
        *row, chunk = outer
        place = flatten((chunk, inner[0]), (chunks, step))
        value = tensor.body(tuple(row), unflatten(place, tensor.inner), read)
        if is_less(place, length):
            return value
        test = apply("lt", IndexValue("uint", place), IndexValue("uint", length), type_="bool")
        return apply("guard", test, value, identity(tensor.kind, type_))

    return Reduction(
        f"{tensor.name}_partial",
        (*tensor.shape, chunks),
        torch.float32 if tensor.dtype.is_floating_point else tensor.dtype,
        kind=tensor.kind,
        inner=(step,),
        sources=tensor.sources,
        body=body,
        label=f"{(tensor.label or tensor.name).rstrip('_0123456789')}_partial",
    )
