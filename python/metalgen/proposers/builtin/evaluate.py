"""Computes expressions for elements of lazily evaluated tensors, within one kernel or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from metalgen.proposers.builtin.division import flatten
from metalgen.proposers.builtin.expressions import (
    Constant,
    Expr,
    Load,
    Variable,
    compute_type,
)
from metalgen.proposers.builtin.tensors import Idx, Pointwise, Stored, Table, Tensor, View

MAX_DEPTH_OF_INLINING = 400


@dataclass
class Evaluator:
    """Reads tensors for one kernel, noting what it read.

    `is_local` tells which tensors this kernel computes itself: reductions and products among them
    are variables, pointwise tensors are computed again. `is_stored` tells which pointwise tensors
    lie in memory.
    """

    is_local: Callable[[Tensor], bool]
    is_stored: Callable[[Tensor], bool]
    local_reads: list[tuple[Tensor, Idx]] = field(default_factory=list)
    loaded: dict[int, Tensor] = field(default_factory=dict)
    _memory: dict[tuple[int, tuple[str, ...]], Expr] = field(default_factory=dict)

    def read(self, tensor: Tensor, index: Idx) -> Expr:
        """The expression for one element."""
        while isinstance(tensor, View):
            index = tensor.transform(index)
            tensor = tensor.source
        key = (id(tensor), tuple(at.key for at in index))
        if key not in self._memory:
            self._memory[key] = self._evaluate(tensor, index)
        return self._memory[key]

    def compute(self, tensor: Pointwise, index: Idx) -> Expr:
        """The expression for one element of a tensor that this kernel is to store."""
        return tensor.body(index, self.read)

    def _evaluate(self, tensor: Tensor, index: Idx) -> Expr:
        if isinstance(tensor, Table) and len(tensor.values) == 1:
            return Constant(compute_type(tensor.dtype), tensor.values[0])
        if self.is_local(tensor):
            self.local_reads.append((tensor, index))
            if isinstance(tensor, Pointwise):
                return self.compute(tensor, index)
            return Variable(compute_type(tensor.dtype), tensor.name)
        if isinstance(tensor, Pointwise) and not self.is_stored(tensor):
            return tensor.body(index, self.read)
        self.loaded[id(tensor)] = tensor
        return Load(compute_type(tensor.dtype), buffer_name(tensor), flatten(index, tensor.shape))


def buffer_name(tensor: Tensor) -> str:
    """The name under which a launch plan knows the tensor."""
    return tensor.plan_name if isinstance(tensor, Stored) else tensor.name
