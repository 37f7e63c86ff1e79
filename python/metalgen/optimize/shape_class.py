"""The class of a call's arguments: calls of one class share a choice, and a proof that it is right.

A size stands for its bucket, the next power of two, and apart from that for whether it fills whole
vectors and tiles: kernels treat the rest at the edge in other code. A tensor's memory counts as
contiguous, as an order of dimensions, or as with gaps.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from math import isfinite

from torch import Tensor

from metalgen.kept_times import bucket

_WHOLE = 32  # sizes of this multiple have no rest in vectors, SIMD-groups and most tiles


def shape_class(arguments: Iterable[object]) -> str:
    """A text such as "float32 64x<1024, int64 64x1@10, 4": "<1024" has a rest, "@10" a layout."""
    return ", ".join(_described(argument) for argument in arguments)


def signature(arguments: Iterable[object]) -> Hashable:
    """What the class depends on, exactly; quicker to have than the class."""
    return tuple(
        (value.shape, value.stride(), value.dtype) if isinstance(value, Tensor) else value
        for value in arguments
    )


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        sizes = "x".join(map(_size, value.shape))
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype} {sizes}{_layout(value)}"
    if isinstance(value, int) and not isinstance(value, bool):
        return _size(value)
    if isinstance(value, float) and value and isfinite(value):
        return "float"  # such as the scale of a resize, which every size has of its own
    return repr(value)


def _size(size: int) -> str:
    rounded = bucket(size)
    has_rest = size % min(_WHOLE, rounded) if rounded else 0
    return f"<{rounded}" if has_rest else str(rounded)


def _layout(tensor: Tensor) -> str:
    if tensor.is_contiguous():
        return ""
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
    gaps = "" if tensor.permute(order).is_contiguous() else "+"
    return f"@{''.join(map(str, order))}{gaps}"
