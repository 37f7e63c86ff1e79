"""Types and values for tests of PyTorch's own Metal kernels, and tensors as its host binds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch
from apple_cases import assert_close
from samples_of import every
from test_apple_torch import library
from torch import Tensor

# As names of kernels spell them; complex numbers are pairs to Metal.
METAL = {
    torch.float32: "float",
    torch.float16: "half",
    torch.bfloat16: "bfloat",
    torch.int32: "int",
    torch.int64: "long",
    torch.int16: "short",
    torch.int8: "char",
    torch.uint8: "uchar",
    torch.bool: "bool",
    torch.complex64: "float2",
    torch.complex32: "half2",
}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
INTEGERS = (torch.int32, torch.int64, torch.int16, torch.int8, torch.uint8)
REAL = (*FLOATS, *INTEGERS, torch.bool)
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
_UNWRITTEN = 77  # what outputs hold before


def sampled(names: str, cases: Iterable[Sequence[object]], one_in: int) -> pytest.MarkDecorator:
    """Every case by --all-kernels, else one in so many."""
    return pytest.mark.parametrize(names.split(), every(one_in, map(tuple, cases)))


def values(dtype: torch.dtype, *shape: int, most: int = 9) -> Tensor:
    """Normal numbers, or integers within `most`."""
    if dtype.is_floating_point or dtype.is_complex:
        wide = torch.complex64 if dtype.is_complex else torch.float32
        return torch.randn(shape, dtype=wide).to(dtype)
    if dtype == torch.bool:
        return torch.rand(shape) > 0.5
    return torch.randint(-most if dtype.is_signed else 0, most + 1, shape).to(dtype)


def unwritten(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.full(shape, _UNWRITTEN, dtype=torch.float32).to(dtype)


def wide(x: Tensor) -> Tensor:
    """The same numbers in a type in which PyTorch's CPU kernels compute."""
    return x.long() if x.dtype in INTEGERS else x.float()


def permuted(x: Tensor) -> Tensor:
    """The same tensor with its dimensions in the opposite order in memory."""
    return x.permute(*reversed(range(x.dim()))).contiguous().permute(*reversed(range(x.dim())))


def memory(x: Tensor) -> Tensor:
    """All elements in the order in which they lie: kernels are given strides beside them."""
    flat = x.as_strided((x.untyped_storage().nbytes() // x.itemsize,), (1,), 0)
    return torch.view_as_real(flat) if flat.is_complex() else flat


def filled(numbers: Iterable[int], size: int) -> list[int]:
    """Up to `size` numbers for an array of a struct of parameters; those behind are not read."""
    found = list(numbers)
    return [*found, *[0] * (size - len(found))]


def launch(name: str, *arguments: object, threads: int | tuple[int, ...]) -> None:
    """As PyTorch's host launches: all threads of a line in threadgroups as large as can be."""
    getattr(library(), name)(
        *(memory(value) if isinstance(value, Tensor) else value for value in arguments),
        threads=threads,
        group_size=min(threads, 1024) if isinstance(threads, int) else None,
    )


def close(actual: Tensor, expected: Tensor, factor: float = 1.0) -> None:
    """Within roundings of the type of `actual`; integers and truth values exactly."""
    expected = expected.to(actual.dtype)
    if actual.is_complex():
        actual, expected = torch.view_as_real(actual), torch.view_as_real(expected)
    assert_close(actual, expected, factor * TOLERANCE.get(actual.dtype, 0.0))
