"""What all operations ask of their tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from metalgen.errors import LaunchError

DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
DEVICES = ("cpu", "mps")


def check_tensors(operation: str, **tensors: Tensor | None) -> None:
    """Raises LaunchError unless all tensors given are of one supported dtype on one supported
    device.
    """
    first_name, first = next((n, t) for n, t in tensors.items() if t is not None)
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.dtype not in DTYPES:
            known = ", ".join(DTYPES.values())
            raise LaunchError(
                f"{operation}: expected {name} of {known}, found {_short(tensor.dtype)}"
            )
        if tensor.device.type not in DEVICES:
            raise LaunchError(f"{operation}: expected {name} on cpu or mps, found {tensor.device}")
        if tensor.dtype != first.dtype or tensor.device != first.device:
            raise LaunchError(
                f"{operation}: expected {name} as {first_name} is ({_where(first)}), "
                f"found {_where(tensor)}"
            )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _where(tensor: Tensor) -> str:
    return f"{_short(tensor.dtype)} on {tensor.device}"


def check_row_parameter(operation: str, name: str, tensor: Tensor | None, columns: int) -> None:
    """Raises LaunchError unless `tensor` has one element for each column."""
    if tensor is not None and tuple(tensor.shape) != (columns,):
        found = tuple(tensor.shape)
        raise LaunchError(f"{operation}: expected {name} of shape ({columns},), found {found}")
