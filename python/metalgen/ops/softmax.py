"""Softmax along one dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from metalgen.errors import LaunchError
from metalgen.ops.arguments import DEVICES, check_tensors
from metalgen.ops.library import kernel_for, row_threads


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x - max x) / sum exp(x - max x) along `dim`, of any shape and length.

    Raises LaunchError for unsupported dtypes and devices and for a `dim` that x does not have.
    """
    check_tensors("softmax", x=x)
    if not -x.dim() <= dim < x.dim():
        raise LaunchError(
            f"softmax: expected dim below {x.dim()} for {tuple(x.shape)}, found {dim}"
        )
    if dim in (-1, x.dim() - 1):
        result: Tensor = _softmax(x)
        return result
    moved: Tensor = _softmax(x.movedim(dim, -1))
    return moved.movedim(-1, dim)


@torch.library.custom_op("metalgen::softmax", mutates_args=(), device_types=DEVICES)
def _softmax(x: Tensor) -> Tensor:
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    if result.numel() == 0:
        return result
    columns = x.shape[-1]
    kernel_for("softmax", x)(
        x.contiguous(),
        result,
        columns,
        threadgroups=(x.numel() // columns,),
        group_size=(row_threads(columns),),
    )
    return result


@_softmax.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)
