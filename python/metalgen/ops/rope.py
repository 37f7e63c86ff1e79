"""Rotary position embedding."""

from __future__ import annotations

import struct

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, check_tensors
from metalgen.ops.gradients import differentiate
from metalgen.ops.layouts import memory_of
from metalgen.ops.library import ceil_div, kernel_for


def rope(x: Tensor, cosine: Tensor, sine: Tensor, interleaved: bool = False) -> Tensor:
    """x (batch, heads, length, e) with pairs of elements turned: (a cos - b sin, a sin + b cos).

    cosine and sine are (length, r / 2), or (batch, length, r / 2) for positions of each sequence;
    the first r elements turn, the rest passes. Pairs are elements j and j + r / 2, or with
    `interleaved` 2j and 2j + 1. Su et al., "RoFormer" (2021). Raises LaunchError.
    """
    check_tensors("rope", x=x, cosine=cosine, sine=sine)
    if x.dim() != 4:
        raise LaunchError(f"rope: expected x (batch, heads, length, e), found {tuple(x.shape)}")
    shapes = [(x.shape[2],), (x.shape[0], x.shape[2])]
    if cosine.dim() not in (2, 3) or tuple(cosine.shape[:-1]) not in shapes:
        raise LaunchError(
            f"rope: expected cosine ({x.shape[2]}, r / 2) or ({x.shape[0]}, {x.shape[2]}, r / 2) "
            f"for x {tuple(x.shape)}, found {tuple(cosine.shape)}"
        )
    if cosine.shape != sine.shape:
        found = f"{tuple(cosine.shape)} and {tuple(sine.shape)}"
        raise LaunchError(f"rope: expected cosine and sine of one shape, found {found}")
    if cosine.shape[-1] * 2 > x.shape[-1]:
        raise LaunchError(
            f"rope: expected at most {x.shape[-1] // 2} angles for heads of {x.shape[-1]} "
            f"elements, found {cosine.shape[-1]}"
        )
    result: Tensor = _rope(x, cosine, sine, interleaved)
    return result


def rope_angles(
    length: int, size: int, base: float = 10000.0, start: int = 0
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (length, size / 2) in float32 of positions from `start` on: the angle of
    pair j is position · base^(-2j / size) (Su et al., 2021). Raises LaunchError for an odd size.
    """
    if size % 2 or size < 0 or length < 0:
        raise LaunchError(f"rope_angles: expected an even size, found {size} for length {length}")
    frequencies = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / max(size, 1))
    angles = torch.arange(start, start + length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float(), angles.sin().float()


@torch.library.custom_op("metalgen::rope", mutates_args=(), device_types=DEVICES)
def _rope(x: Tensor, cosine: Tensor, sine: Tensor, interleaved: bool) -> Tensor:
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    if result.numel() == 0:
        return result
    x = x if x.stride(-1) == 1 else x.contiguous()
    batch, heads, length, size = x.shape
    angle_step = length if cosine.dim() == 3 else 0
    sizes = (heads, length, size, cosine.shape[-1] * 2, angle_step)
    kernel_for("rope", x)(
        memory_of(x),
        cosine.contiguous(),
        sine.contiguous(),
        result,
        struct.pack("<5I4x3Q", *sizes, *x.stride()[:3]),
        threads=(ceil_div(size, 2), length, batch * heads),
        group_size=(min(ceil_div(size, 2), 64), min(length, 4), 1),
        constants={"is_interleaved": interleaved},
    )
    return result


@_rope.register_fake
def _(x: Tensor, cosine: Tensor, sine: Tensor, interleaved: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def rope_formula(x: Tensor, cosine: Tensor, sine: Tensor, interleaved: bool) -> Tensor:
    """The same by PyTorch."""
    pairs = cosine.shape[-1]
    c, s = (t.unsqueeze(1) if t.dim() == 3 else t for t in (cosine, sine))
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    left, right = a * c - b * s, a * s + b * c
    both = (
        torch.stack((left, right), -1).flatten(-2) if interleaved else torch.cat((left, right), -1)
    )
    return torch.cat((both, rest), -1)


differentiate(_rope, rope_formula)
