"""Softmax and log-softmax along one dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metalgen.ops.arguments import DEVICES, check_dimension, check_tensors
from metalgen.ops.library import kernel_of, row_threads
from metalgen.ops.winners import choose


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x - max x) / sum exp(x - max x) along `dim`, of any shape and length.

    Raises LaunchError for unsupported dtypes and devices and for a `dim` that x does not have.
    """
    return _along("softmax", x, dim, is_log=False)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """x - max x - log sum exp(x - max x) along `dim`, of any shape and length.

    Raises LaunchError for unsupported dtypes and devices and for a `dim` that x does not have.
    """
    return _along("log_softmax", x, dim, is_log=True)


def _along(operation: str, x: Tensor, dim: int, is_log: bool) -> Tensor:
    check_tensors(operation, x=x)
    last = check_dimension(operation, x, dim) == max(x.dim() - 1, 0)
    result: Tensor = _softmax(x if last else x.movedim(dim, -1), is_log)
    return result if last else result.movedim(-1, dim)


@torch.library.custom_op("metalgen::softmax", mutates_args=(), device_types=DEVICES)
def _softmax(x: Tensor, is_log: bool) -> Tensor:
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    if result.numel() == 0:
        return result
    columns = x.shape[-1] if x.dim() else 1
    variant = choose("softmax", x, (columns,))
    kernel_of("softmax", variant, x)(
        x.contiguous(),
        result,
        columns,
        threadgroups=(x.numel() // columns,),
        group_size=(row_threads(columns, variant["elements"]),),
        constants={"is_log": is_log},
    )
    return result


@_softmax.register_fake
def _(x: Tensor, is_log: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: Tensor) -> None:
    ctx.save_for_backward(output)
    ctx.is_log = inputs[1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (y,) = ctx.saved_tensors
    dim = -1 if y.dim() else ()
    if ctx.is_log:
        return grad - y.exp() * grad.sum(dim, keepdim=True), None
    return y * (grad - (grad * y).sum(dim, keepdim=True)), None


_softmax.register_autograd(_backward, setup_context=_setup_context)
