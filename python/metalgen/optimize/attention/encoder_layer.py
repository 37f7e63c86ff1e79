"""nn.TransformerEncoderLayer's fused operator, taken apart: there is no template for the whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, relu

from metalgen.optimize.attention.operator import ATTENTION

FUSED = torch.ops.aten._transformer_encoder_layer_fwd.default


def encoder_layer(
    source: Tensor,
    width: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    *rest: Any,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Any:
    """What the operator computes, by smaller ones; NotImplemented where it takes a mask."""
    norms, (up, up_bias, down, down_bias), masks = rest[:4], rest[4:8], rest[8:]
    if mask is not None or any(value is not None for value in masks):
        return NotImplemented

    def attended(x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = linear(x, qkv_weight, qkv_bias).view(batch, length, 3, heads, width // heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = ATTENTION(query, key, value, None, False, None, False)
        return linear(mixed.transpose(1, 2).reshape(batch, length, width), out_weight, out_bias)

    def fed(x: Tensor) -> Tensor:
        wide = linear(x, up, up_bias)
        return linear(gelu(wide) if use_gelu else relu(wide), down, down_bias)

    def normed(x: Tensor, at: int) -> Tensor:
        return layer_norm(x, (width,), norms[at], norms[at + 1], eps)

    if norm_first:
        x = source + attended(normed(source, 0))
        return x + fed(normed(x, 2))
    x = normed(source + attended(source), 0)
    return normed(x + fed(x), 2)
