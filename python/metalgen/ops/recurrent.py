"""Recurrent layers: one product for the inputs of all steps, then one kernel for each step."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DTYPES, check_tensors
from metalgen.ops.gemm import linear
from metalgen.ops.library import SIMDGROUP, ceil_div, kernel_named

Kind = Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]
GATES: dict[Kind, int] = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_KERNELS: dict[Kind, str] = {
    "lstm": "lstm_step",
    "gru": "gru_step",
    "rnn_tanh": "rnn_step_tanh",
    "rnn_relu": "rnn_step_relu",
}
_SIMDGROUPS = 8  # as kSimdgroups in metal/recurrent.metal


@dataclass(frozen=True, slots=True)
class Layer:
    """One direction of one layer: weights (gates · hidden, inputs) and (gates · hidden, hidden)."""

    input_weight: Tensor
    hidden_weight: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Sequences:
    """What a layer reads and writes: x and y (length, batch, elements), y with any strides.

    `hidden` (batch, hidden) is the state before the first step; `cell`, float32 and contiguous, is
    an LSTM's, and holds afterwards what it is after the last step.
    """

    x: Tensor
    y: Tensor
    hidden: Tensor
    cell: Tensor | None = None


def run_layer(kind: Kind, layer: Layer, given: Sequences, *, backwards: bool = False) -> Tensor:
    """Write a layer's outputs to `given.y`; returns the hidden state after the last step.

    Formulas stand above the kernels. `backwards`: from the last moment to the first. Raises
    LaunchError.
    """
    x, y, hidden = given.x, given.y, given.hidden.contiguous()
    _check(layer, given)
    length, batch, size = y.shape
    if y.numel() == 0:
        return hidden
    inputs = linear(x.reshape(length * batch, -1), layer.input_weight, layer.input_bias)
    step = _step(kind, layer, inputs, batch, size)
    order = range(length - 1, -1, -1) if backwards else range(length)
    before, before_row = hidden, size
    for moment in order:
        now = y[moment]
        step(inputs[moment * batch :], before, before_row, given.cell, now)
        before, before_row = now, now.stride(0)
    return before


_Step = Callable[[Tensor, Tensor, int, Tensor | None, Tensor], None]


def _step(kind: Kind, layer: Layer, inputs: Tensor, batch: int, size: int) -> _Step:
    kernel = kernel_named(f"{_KERNELS[kind]}_{DTYPES[inputs.dtype]}")
    weight = layer.hidden_weight.contiguous()
    bias = None if layer.hidden_bias is None else layer.hidden_bias.contiguous()
    geometry: dict[str, Any] = {
        "threadgroups": (ceil_div(size, _SIMDGROUPS), batch),
        "group_size": (SIMDGROUP * _SIMDGROUPS, 1),
        "constants": {"has_bias": bias is not None},
    }

    def step(x: Tensor, before: Tensor, before_row: int, cell: Tensor | None, y: Tensor) -> None:
        shape = struct.pack("<4I", size, x.shape[1], before_row, y.stride(0))
        state = () if cell is None else (cell,)
        lines = _flat(x), _flat(before), weight, bias
        kernel(*lines, *state, _flat(y), shape, **geometry)

    return step


def _flat(x: Tensor) -> Tensor:
    """The memory from a tensor's first element on, as a vector."""
    span = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    return x.as_strided((span,), (1,))


def _check(layer: Layer, given: Sequences) -> None:
    check_tensors(
        "recurrent", x=given.x, y=given.y, hidden=given.hidden, weight=layer.hidden_weight
    )
    rows, size = layer.hidden_weight.shape
    if given.y.stride(-1) != 1 or given.hidden.shape != (given.y.shape[1], size):
        raise LaunchError(
            f"recurrent: expected a state of {(given.y.shape[1], size)} and contiguous outputs,"
            f" found {tuple(given.hidden.shape)} and strides {given.y.stride()}"
        )
    if layer.input_weight.shape != (rows, given.x.shape[-1]):
        raise LaunchError(
            f"recurrent: expected weights of {(rows, given.x.shape[-1])} for the inputs, found"
            f" {tuple(layer.input_weight.shape)}"
        )


def layers_of(weights: Sequence[Tensor], has_biases: bool, count: int) -> list[Layer]:
    """`count` layers from PyTorch's flat list; LaunchError for projections, which have more."""
    each = 4 if has_biases else 2
    if len(weights) != each * count:
        raise LaunchError(f"recurrent: expected {each} weights a layer, found projections")
    groups = (weights[i : i + each] for i in range(0, len(weights), each))
    return [Layer(*group) for group in groups]


def empty_cell(cell: Tensor) -> Tensor:
    """A copy of an LSTM's cell state as the kernels keep it."""
    return cell.to(torch.float32, copy=True).contiguous()
