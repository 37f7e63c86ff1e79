"""Scaled dot-product attention without its matrix of scores in memory."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import (
    DEVICES,
    DTYPES,
    broadcast_shapes,
    check_same_device,
    check_tensors,
    short,
)
from metalgen.ops.gradients import differentiate
from metalgen.ops.layouts import memory_of
from metalgen.ops.library import SIMDGROUP, ceil_div, kernel_of
from metalgen.ops.winners import choose

MOST_ELEMENTS = 256  # of a head
# Up to here a threadgroup for each query is better than tiles of 32, mostly empty.
_FEW_QUERIES = 4


def scaled_dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale q kᵀ + mask) v: q (batch, heads, queries, e), k (batch, kv heads, keys, e),
    v (batch, kv heads, keys, ev) to (batch, heads, queries, ev), e and ev up to 256.

    Heads share keys and values where there are fewer of these (grouped-query attention). `mask` is
    added to the scores, or bool and true where a key counts; it broadcasts to (batch, heads,
    queries, keys). `causal`: query i sees keys 0 to i. A query that sees no key gets zeros.
    `scale` is 1 / sqrt(e) unless given. Dao et al., "FlashAttention" (2022). Raises LaunchError.
    """
    check_attention(q, k, v, mask)
    factor = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else float(scale)
    result: Tensor = _attention(q, k, v, mask, causal, factor)
    return result


def check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    """Raises LaunchError for what the kernels cannot take."""
    check_tensors("scaled_dot_product_attention", q=q, k=k, v=v)
    _check_shapes(q, k, v)
    _check_mask(q, k, mask)


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    found = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    operation = "scaled_dot_product_attention"
    if not q.dim() == k.dim() == v.dim() == 4:
        raise LaunchError(f"{operation}: expected (batch, heads, length, e) each, found {found}")
    fits = q.shape[0] == k.shape[0] == v.shape[0] and q.shape[3] == k.shape[3]
    if not fits or k.shape[1:3] != v.shape[1:3]:
        raise LaunchError(f"{operation}: expected one batch, e, kv heads and keys, found {found}")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise LaunchError(f"{operation}: expected kv heads that divide the heads, found {found}")
    if max(q.shape[3], v.shape[3]) > MOST_ELEMENTS:
        raise LaunchError(f"{operation}: expected e up to {MOST_ELEMENTS}, found {found}")


def _check_mask(q: Tensor, k: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        return
    operation = "scaled_dot_product_attention"
    if mask.dtype not in (torch.bool, q.dtype):
        raise LaunchError(
            f"{operation}: expected a mask of bool or {DTYPES[q.dtype]}, found {short(mask.dtype)}"
        )
    check_same_device(operation, "mask", mask, q)
    shape = (*q.shape[:3], k.shape[2])
    try:
        fits = broadcast_shapes(mask.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise LaunchError(
            f"{operation}: expected a mask that broadcasts to {shape}, found {tuple(mask.shape)}"
        )


@torch.library.custom_op("metalgen::attention", mutates_args=(), device_types=DEVICES)
def _attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float
) -> Tensor:
    result = q.new_empty((*q.shape[:3], v.shape[3]))
    return attend(q, k, v, result, AttentionOptions(mask, causal, scale))


@dataclass(frozen=True, slots=True)
class AttentionOptions:
    """What attention may take beside q, k and v.

    A bool mask is true where a key counts, or where it does not if `hides`; the score of one that
    does not is `hidden`. A query that sees no key gets zeros if `is_safe`, else NaN.
    """

    mask: Tensor | None = None
    causal: bool = False
    scale: float = 1.0
    hides: bool = False
    hidden: float = -math.inf
    is_safe: bool = True


def attend(q: Tensor, k: Tensor, v: Tensor, result: Tensor, options: AttentionOptions) -> Tensor:
    """Write softmax(scale q kᵀ + mask) v into `result`, whose last dimension is contiguous."""
    if result.numel() == 0:
        return result
    if k.shape[2] == 0:
        return result.zero_()
    q, k, v = (_with_lines(x) for x in (q, k, v))
    batch, heads, queries, size = q.shape
    sizes = (queries, k.shape[2], max(size, v.shape[3]))
    is_vector = queries <= _FEW_QUERIES
    name = "attention_vector" if is_vector else "attention"
    variant = choose(name, q, sizes)
    mask = options.mask
    wide = None if mask is None else mask.expand(batch, heads, queries, k.shape[2])
    is_bool = mask is not None and mask.dtype == torch.bool
    shape = (queries, k.shape[2], size, v.shape[3], heads // k.shape[1])
    steps = [*(step for x in (q, k, v) for step in x.stride()[:3])]
    steps += [*(wide.stride() if wide is not None else [0] * 4), *result.stride()[:3]]
    kernel_of(name, variant, q)(
        *(memory_of(x) for x in (q, k, v)),
        memory_of(wide) if wide is not None and is_bool else None,
        memory_of(wide) if wide is not None and not is_bool else None,
        memory_of(result),
        struct.pack("<5I2f4x16Q", *shape, options.scale, options.hidden, *steps),
        threadgroups=(
            queries if is_vector else ceil_div(queries, 8 * variant["simdgroups"]),
            heads,
            batch,
        ),
        group_size=(SIMDGROUP * variant["simdgroups"], 1, 1),
        constants={
            "has_bool_mask": is_bool,
            "has_mask": mask is not None and not is_bool,
            "is_causal": options.causal,
            "hides": options.hides,
            "is_safe": options.is_safe,
        },
    )
    return result


def _with_lines(x: Tensor) -> Tensor:
    """The tensor with contiguous elements of a head, copied where they are not."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


@_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    return q.new_empty((*q.shape[:3], v.shape[3]))


def attention_formula(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float
) -> Tensor:
    """The same by PyTorch, mask and causal order together, which its own function refuses."""
    share = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(share, 1) for x in (k, v))
    if causal:
        sees = q.new_ones((q.shape[2], k.shape[2]), dtype=torch.bool).tril()
        if mask is None:
            mask = sees
        elif mask.dtype == torch.bool:
            mask = mask & sees
        else:
            mask = mask.masked_fill(~sees, -math.inf)
    return functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)


differentiate(_attention, attention_formula)
