"""The kernel library that was compiled when metalgen was built."""

from __future__ import annotations

import functools

from torch import Tensor

from metalgen import resources
from metalgen.library import Library, load_metallib
from metalgen.library.kernel import Kernel
from metalgen.ops.arguments import DTYPES

_SIMDGROUP = 32
_LARGEST_GROUP = 1024
_ELEMENTS_PER_THREAD = 4


@functools.cache
def _library() -> Library:
    return load_metallib(resources.metallib())


def kernel_for(operation: str, tensor: Tensor) -> Kernel:
    """The instance of an operation's kernel for the tensor's dtype."""
    return _library().kernel(f"{operation}_{DTYPES[tensor.dtype]}")


def row_threads(columns: int) -> int:
    """Threads for a row: whole SIMD-groups, about four elements each."""
    groups = -(-columns // (_SIMDGROUP * _ELEMENTS_PER_THREAD))
    return min(_LARGEST_GROUP, max(1, groups) * _SIMDGROUP)
