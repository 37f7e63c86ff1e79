"""Which function lowers which ATen operator; the modules of `lowering` fill it when imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from metalgen.proposers.builtin.capture import Capture
from metalgen.proposers.builtin.indexing import Index
from metalgen.proposers.builtin.tensors import Idx, Tensor

Result = Tensor | tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One operator's node with its arguments looked up: tensors, sizes as indices, numbers."""

    node: Node
    capture: Capture
    args: Sequence[Any]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def value(self) -> Any:
        """What the export says of the result: a fake tensor or a tuple of them."""
        return self.node.meta["val"]

    @property
    def shape(self) -> Idx:
        return self.capture.shape_of(self.node)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.value.dtype
        return dtype

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """A positional argument, given by position or by name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def shapes(self) -> tuple[Idx, ...]:
        """The shapes of all results of an operator with several."""
        index_of = self.capture.index_of
        return tuple(tuple(index_of(size) for size in part.shape) for part in self.value)


Lowering = Callable[[Call], Result]
LOWERINGS: dict[str, Lowering] = {}


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Registers a function for operators, named without `aten.` and overload."""

    def register(function: Lowering) -> Lowering:
        for name in names:
            LOWERINGS[name] = function
        return function

    return register


def fixed(value: int | Index, what: str) -> int:
    """A size that must not depend on the inputs' sizes."""
    constant = Index.of(value).constant
    if constant is None:
        from metalgen.proposers.builtin.capture import SizeError

        raise SizeError(f"{what} depends on an input's size")
    return constant
