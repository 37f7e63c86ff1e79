"""What all operations ask of their tensors."""

from __future__ import annotations

from collections.abc import Sequence

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
        check_dtype(operation, name, tensor, tuple(DTYPES))
        if tensor.device.type not in DEVICES:
            raise LaunchError(f"{operation}: expected {name} on cpu or mps, found {tensor.device}")
        if tensor.dtype != first.dtype or tensor.device != first.device:
            raise LaunchError(
                f"{operation}: expected {name} as {first_name} is ({_where(first)}), "
                f"found {_where(tensor)}"
            )


def check_dtype(operation: str, name: str, tensor: Tensor, dtypes: Sequence[torch.dtype]) -> None:
    """Raises LaunchError unless `tensor` is a tensor of one of these dtypes."""
    known = ", ".join(short(dtype) for dtype in dtypes)
    if not isinstance(tensor, Tensor):
        raise LaunchError(
            f"{operation}: expected {name} as a tensor of {known}, found {type(tensor).__name__}"
        )
    if tensor.dtype not in dtypes:
        raise LaunchError(f"{operation}: expected {name} of {known}, found {short(tensor.dtype)}")


def check_same_device(operation: str, name: str, tensor: Tensor | None, other: Tensor) -> None:
    """Raises LaunchError unless `tensor` lies where `other` does."""
    if tensor is not None and tensor.device != other.device:
        raise LaunchError(
            f"{operation}: expected {name} on {other.device}, found it on {tensor.device}"
        )


def short(dtype: torch.dtype) -> str:
    """A dtype's name without the library's."""
    return str(dtype).removeprefix("torch.")


def _where(tensor: Tensor) -> str:
    return f"{short(tensor.dtype)} on {tensor.device}"


def check_row_parameter(operation: str, name: str, tensor: Tensor | None, columns: int) -> None:
    """Raises LaunchError unless `tensor` has one element for each column."""
    check_shape(operation, name, tensor, (columns,))


def check_shape(operation: str, name: str, tensor: Tensor | None, shape: Sequence[int]) -> None:
    """Raises LaunchError unless `tensor` has this shape."""
    if tensor is not None and tuple(tensor.shape) != tuple(shape):
        found = tuple(tensor.shape)
        raise LaunchError(f"{operation}: expected {name} of shape {tuple(shape)}, found {found}")


def check_dimension(operation: str, x: Tensor, dim: int) -> int:
    """The dimension counted from the front; raises LaunchError where x does not have it."""
    count = max(x.dim(), 1)  # a scalar counts as a row of one, as in torch
    if not -count <= dim < count:
        raise LaunchError(
            f"{operation}: expected dim from {-count} to {count - 1} for {tuple(x.shape)}, "
            f"found {dim}"
        )
    return dim % count


def pair(operation: str, name: str, value: int | Sequence[int], least: int = 0) -> tuple[int, int]:
    """(vertical, horizontal) from one number or two; raises LaunchError below `least`."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) != 2 or any(not isinstance(v, int) or v < least for v in values):
        raise LaunchError(
            f"{operation}: expected {name} as one or two integers of at least {least}, "
            f"found {value!r}"
        )
    return values[0], values[1]


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all broadcast to; raises RuntimeError, as torch does, where there is none."""
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
