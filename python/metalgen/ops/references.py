"""What each operation must compute, by PyTorch: in float64 the truth, else eager's way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.ops.activations import FORMULAS as ACTIVATION_FORMULAS
from metalgen.ops.attention import attention_formula
from metalgen.ops.norm import add_layer_norm_formula, add_rms_norm_formula
from metalgen.ops.quantized import QuantizedWeight
from metalgen.ops.reduction import FORMULAS as REDUCTION_FORMULAS
from metalgen.ops.rope import rope_formula
from metalgen.ops.scan import scan_formula


def _activated(x: Tensor, activation: str | None) -> Tensor:
    return x if activation is None else ACTIVATION_FORMULAS[activation](x)


def _following(y: Tensor, activation: str | None, residual: Tensor | None) -> Tensor:
    y = _activated(y, activation)
    return y if residual is None else y + residual


def _fused_gemm(
    a: Tensor,
    b: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    y = a @ b
    return _following(y if bias is None else y + bias, activation, residual)


def _linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    return _following(functional.linear(x, weight, bias), activation, residual)


def _quantized_linear(
    x: Tensor,
    weight: QuantizedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    return _linear(x, widened(weight, x.dtype).dequantize(), bias, activation, residual)


def widened(weight: QuantizedWeight, dtype: torch.dtype) -> QuantizedWeight:
    """The weight with scales and offsets of another dtype."""
    scales, offsets = weight.scales.to(dtype), weight.offsets.to(dtype)
    return dataclasses.replace(weight, scales=scales, offsets=offsets)


_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    **windows: Any,
) -> Tensor:
    convolve = _CONVOLUTIONS[weight.dim()]
    return _following(convolve(x, weight, bias, **windows), activation, residual)


def _reduce(
    x: Tensor,
    reduction: str,
    dim: int = -1,
    keepdim: bool = False,
    activation: str | None = None,
) -> Tensor:
    y = REDUCTION_FORMULAS[reduction](_activated(x, activation), dim)
    return y.unsqueeze(dim) if keepdim and x.dim() else y


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return attention_formula(q, k, v, mask, causal, factor)


def _batch_norm(
    x: Tensor,
    mean: Tensor | None = None,
    variance: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return functional.batch_norm(x, mean, variance, weight, bias, mean is None, 0.0, eps)


def _selective_scan(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor | None = None,
    gate: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    b, c = (t.unsqueeze(1) if t.dim() == 3 else t for t in (b, c))
    return scan_formula(u, delta, a, b, c, skip, gate, delta_bias, delta_softplus, initial)


REFERENCES: Mapping[str, Callable[..., Any]] = {
    "fused_gemm": _fused_gemm,
    "linear": _linear,
    "quantized_linear": _quantized_linear,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "winograd_conv2d": _convolution,
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "rms_norm": lambda x, weight=None, eps=1e-6: functional.rms_norm(x, x.shape[-1:], weight, eps),
    "layer_norm": lambda x, weight=None, bias=None, eps=1e-5: functional.layer_norm(
        x, x.shape[-1:], weight, bias, eps
    ),
    "add_rms_norm": add_rms_norm_formula,
    "add_layer_norm": add_layer_norm_formula,
    "group_norm": functional.group_norm,
    "batch_norm": _batch_norm,
    "reduce": _reduce,
    "activation": lambda x, name: ACTIVATION_FORMULAS[name](x),
    "gelu": functional.gelu,
    "silu": functional.silu,
    "swiglu": lambda gate, value: functional.silu(gate) * value,
    "geglu": lambda gate, value, **options: functional.gelu(gate, **options) * value,
    "scaled_dot_product_attention": _attention,
    "rope": lambda x, cosine, sine, interleaved=False: rope_formula(x, cosine, sine, interleaved),
    "embedding": functional.embedding,
    "max_pool2d": functional.max_pool2d,
    "avg_pool2d": functional.avg_pool2d,
    "adaptive_avg_pool2d": functional.adaptive_avg_pool2d,
    "adaptive_max_pool2d": functional.adaptive_max_pool2d,
    "selective_scan": _selective_scan,
}
