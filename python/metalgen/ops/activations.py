"""Activations: alone, as what follows a product, and as gates (swiglu, geglu)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, check_tensors
from metalgen.ops.gradients import differentiate
from metalgen.ops.layouts import memory_of
from metalgen.ops.library import ceil_div, kernel_for

Activation = Literal[
    "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid",
    "quick_gelu", "hardswish", "softplus", "mish",
]  # fmt: skip
_GROUP = 256  # threads

# In the order of their numbers in metal/activation.h, from 1 on; 0 is none.
FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "hardswish": functional.hardswish,
    "softplus": functional.softplus,
    "mish": functional.mish,
}
ACTIVATIONS: tuple[str, ...] = tuple(FORMULAS)


def activation_number(operation: str, name: str | None) -> int:
    """The activation's number in metal/activation.h; raises LaunchError for unknown names."""
    if name is None:
        return 0
    if name not in FORMULAS:
        known = ", ".join(ACTIVATIONS)
        raise LaunchError(f"{operation}: expected an activation of {known}, found {name!r}")
    return 1 + ACTIVATIONS.index(name)


def apply_formula(x: Tensor, number: int) -> Tensor:
    """What activate() in metal/activation.h computes, in PyTorch."""
    return x if number == 0 else FORMULAS[ACTIVATIONS[number - 1]](x)


def following_formula(y: Tensor, number: int, residual: Tensor | None) -> Tensor:
    """activation(y) + residual, in PyTorch."""
    y = apply_formula(y, number)
    return y if residual is None else y + residual


def activation(x: Tensor, name: Activation) -> Tensor:
    """The activation `name` of each element, in x's shape and, where x is dense, its layout.

    gelu is the exact one (Hendrycks and Gimpel, 2016), gelu_tanh its approximation, quick_gelu
    x sigmoid(1.702 x). Raises LaunchError for unknown names, dtypes and devices.
    """
    check_tensors("activation", x=x)
    result: Tensor = _activation(x, activation_number("activation", name))
    return result


def gelu(x: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """x Φ(x), with the error function or its approximation by tanh. Raises LaunchError."""
    if approximate not in ("none", "tanh"):
        raise LaunchError(f"gelu: expected approximate 'none' or 'tanh', found {approximate!r}")
    return activation(x, "gelu" if approximate == "none" else "gelu_tanh")


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x) (Elfwing, Uchibe and Doya, 2017). Raises LaunchError."""
    return activation(x, "silu")


def swiglu(gate: Tensor, value: Tensor) -> Tensor:
    """silu(gate) · value, of one shape; halves of one matrix are read in place.

    Shazeer, "GLU Variants Improve Transformer" (2020). Raises LaunchError.
    """
    return gated(gate, value, "silu")


def geglu(gate: Tensor, value: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """gelu(gate) · value, of one shape (Shazeer, 2020). Raises LaunchError."""
    if approximate not in ("none", "tanh"):
        raise LaunchError(f"geglu: expected approximate 'none' or 'tanh', found {approximate!r}")
    return gated(gate, value, "gelu" if approximate == "none" else "gelu_tanh")


def gated(gate: Tensor, value: Tensor, name: Activation) -> Tensor:
    """activation(gate) · value, of one shape. Raises LaunchError."""
    check_tensors("gated", gate=gate, value=value)
    if gate.shape != value.shape:
        found = f"{tuple(gate.shape)} and {tuple(value.shape)}"
        raise LaunchError(f"gated: expected gate and value of one shape, found {found}")
    result: Tensor = _gated(gate, value, activation_number("gated", name))
    return result


@torch.library.custom_op("metalgen::activation", mutates_args=(), device_types=DEVICES)
def _activation(x: Tensor, number: int) -> Tensor:
    result = torch.empty_like(x)
    if result.stride() != x.stride():  # x overlaps itself or has holes
        x = torch.empty_like(result).copy_(x)
    if x.numel() > 0:
        flat, out = (t.as_strided((t.numel(),), (1,)) for t in (x, result))
        kernel_for("activation", x)(
            flat,
            out,
            x.numel(),
            threads=ceil_div(x.numel(), 4),
            group_size=_GROUP,
            constants={"activation": number},
        )
    return result


@_activation.register_fake
def _(x: Tensor, number: int) -> Tensor:
    return torch.empty_like(x)


differentiate(_activation, apply_formula)


@torch.library.custom_op("metalgen::gated", mutates_args=(), device_types=DEVICES)
def _gated(gate: Tensor, value: Tensor, number: int) -> Tensor:
    result = torch.empty_like(gate, memory_format=torch.contiguous_format)
    if result.numel() > 0:
        (left, left_pitch), (right, right_pitch) = _rows(gate), _rows(value)
        columns = gate.shape[-1] if gate.dim() else 1
        kernel_for("gated", gate)(
            left,
            right,
            result,
            columns,
            left_pitch,
            right_pitch,
            threads=(ceil_div(columns, 4), gate.numel() // columns),
            group_size=(_GROUP, 1),
            constants={"activation": number},
        )
    return result


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """The tensor as rows that are equally far apart, copied where they are not."""
    if x.dim() == 0:
        return x, 1
    columns = x.shape[-1]
    lead = [(n, s) for n, s in zip(x.shape[:-1], x.stride()[:-1], strict=True) if n > 1]
    follows = all(s == inner * n for (_, s), (n, inner) in pairwise(lead))
    if (x.stride(-1) == 1 or columns == 1) and follows:
        return memory_of(x), lead[-1][1] if lead else columns
    return x.contiguous(), columns


@_gated.register_fake
def _(gate: Tensor, value: Tensor, number: int) -> Tensor:
    return torch.empty_like(gate, memory_format=torch.contiguous_format)


differentiate(_gated, lambda gate, value, number: apply_formula(gate, number) * value)
