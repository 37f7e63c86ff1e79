"""The kernel library that was compiled when metalgen was built."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metalgen import resources
from metalgen.kernel_table import Variant, family
from metalgen.library import Library, load_metallib
from metalgen.library.kernel import Kernel
from metalgen.ops.arguments import DTYPES
from metalgen.ops.winners import choose

SIMDGROUP = 32
LARGEST_GROUP = 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A dispatch as an operation asked for it."""

    kernel: Kernel
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


_RECORDED: ContextVar[list[Call] | None] = ContextVar("recorded", default=None)


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """Inside a `with`, dispatches are written down and not run: results are not initialised."""
    calls: list[Call] = []
    token = _RECORDED.set(calls)
    try:
        yield calls
    finally:
        _RECORDED.reset(token)


@functools.cache
def library() -> Library:
    """All kernels of metal/."""
    return load_metallib(resources.metallib())


def kernel_named(name: str) -> Callable[..., None]:
    """The kernel of that name, to be called as `metalgen.library.Kernel` is."""
    calls = _RECORDED.get()
    if calls is None:
        return _kernel(name)

    def write_down(*arguments: Any, **keywords: Any) -> None:
        calls.append(Call(_kernel(name), arguments, keywords))

    return write_down


@functools.cache
def _kernel(name: str) -> Kernel:
    return library().kernel(name)


@functools.cache
def _name(
    family_name: str, dtype: torch.dtype, instance: str, more: tuple[tuple[str, str], ...]
) -> str:
    pattern = family(family_name).kernel
    return pattern.format(dtype=DTYPES[dtype], variant=instance, **dict(more))


def kernel_of(
    family_name: str, variant: Variant, tensor: Tensor, **more: str
) -> Callable[..., None]:
    """The kernel of a variant for the tensor's dtype; `more` fills the rest of the name."""
    return kernel_named(_name(family_name, tensor.dtype, variant.instance, tuple(more.items())))


def kernel_for(operation: str, tensor: Tensor) -> Callable[..., None]:
    """The instance of an operation's kernel for the tensor's dtype, where it has no variants."""
    return kernel_named(f"{operation}_{DTYPES[tensor.dtype]}")


def row_threads(columns: int, elements: int) -> int:
    """Threads for a row: whole SIMD-groups, about `elements` elements each."""
    groups = -(-columns // (SIMDGROUP * elements))
    return min(LARGEST_GROUP, max(1, groups) * SIMDGROUP)


def threads_for_row(tensor: Tensor, columns: int) -> int:
    """Threads for a row of a norm or a reduction, as tuned."""
    return row_threads(columns, choose("rows", tensor, (columns,))["elements"])


def ceil_div(value: int, divisor: int) -> int:
    """How many of `divisor` cover `value`."""
    return -(-value // divisor)
