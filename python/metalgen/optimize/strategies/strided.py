"""How a view of a tensor lies in memory, as kernels that take strides want to know it.

A dimension is a product of factors, each a size and a stride: merging (batch, heads) that are not
neighbours in memory keeps both, and a kernel that knows two levels of batches reads them in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.fx import Node

from metalgen.optimize.passes.nodes import ATEN
from metalgen.proposers.builtin.capture import Capture
from metalgen.proposers.builtin.indexing import ONE, ZERO, Index, product

Factor = tuple[Index, Index]  # size and stride; stride 0 repeats
Dimension = tuple[Factor, ...]  # the slowest factor first; none for a size of 1


@dataclass(frozen=True)
class Strided:
    """The elements of the tensor that the plan calls `name`, seen through strides."""

    name: str
    dimensions: tuple[Dimension, ...]

    def size(self, axis: int) -> Index:
        """How many elements there are along an axis."""
        return product(size for size, _ in self.dimensions[axis])

    def stride(self, axis: int) -> Index | None:
        """The one stride of an axis, 0 for a size of 1; None where there are several."""
        factors = self.dimensions[axis]
        if not factors:
            return ZERO
        return factors[0][1] if len(factors) == 1 else None

    @property
    def is_in_order(self) -> bool:
        """Whether the elements lie one after the other."""
        expected = ONE
        for size, stride in reversed([f for factors in self.dimensions for f in factors]):
            if stride != expected:
                return False
            expected = expected * size
        return True


def in_order(name: str, shape: Sequence[Index]) -> Strided:
    """A tensor whose elements lie one after the other."""
    dimensions: list[Dimension] = []
    stride = ONE
    for size in reversed(shape):
        dimensions.append(_factors((size, stride)))
        stride = stride * size
    return Strided(name, tuple(reversed(dimensions)))


def strided(node: Node, capture: Capture, stored: Sequence[Node]) -> Strided | None:
    """The node as a view of one of the `stored` nodes; None where it is no such view."""
    if node in stored:
        return in_order(node.name, capture.shape_of(node))
    source = node.args[0] if node.op == "call_function" and node.args else None
    view = _VIEWS.get(node.target)
    if view is None or not isinstance(source, Node):
        return None
    below = strided(source, capture, stored)
    return None if below is None else view(below, node, capture)


def reshaped(value: Strided, shape: Sequence[Index]) -> Strided | None:
    """The same elements in order under another shape; None where strides cannot say it."""
    old = [factor for factors in value.dimensions for factor in factors]
    dimensions: list[Dimension] = []
    for size in shape:
        taken = _take(old, size)
        if taken is None:
            return None
        dimensions.append(taken)
    return None if old else Strided(value.name, tuple(dimensions))


def _take(old: list[Factor], size: Index) -> Dimension | None:
    """Factors that make up `size`, taken off the front of `old`, the last one cut if it must be."""
    taken: list[Factor] = []
    have = ONE
    while have != size:
        if not old:
            return None
        head, stride = old.pop(0)
        if head == 1:
            continue
        if (whole := have * head) == size or _divides(whole, size):
            taken.append((head, stride))
            have = whole
        else:
            wanted = size // have
            if wanted * have != size or not _divides(wanted, head):
                return None
            rest = head // wanted
            taken.append((wanted, stride * rest))
            old.insert(0, (rest, stride))
            have = size
    return _merged(taken)


def _divides(divisor: Index, value: Index) -> bool:
    return bool((value // divisor) * divisor == value)


def _merged(factors: Sequence[Factor]) -> Dimension:
    """Neighbouring factors that are one in memory joined."""
    result: list[Factor] = []
    for size, stride in factors:
        if result and result[-1][1] == stride * size:
            result[-1] = (result[-1][0] * size, stride)
        else:
            result.append((size, stride))
    return tuple(result)


def _factors(factor: Factor) -> Dimension:
    return () if factor[0] == 1 else (factor,)


def _same(value: Strided, node: Node, capture: Capture) -> Strided | None:
    return value


def _reshape(value: Strided, node: Node, capture: Capture) -> Strided | None:
    return reshaped(value, capture.shape_of(node))


def _permute(value: Strided, node: Node, capture: Capture) -> Strided | None:
    rank = len(value.dimensions)
    if node.target is ATEN.permute.default:
        order = [int(axis) % rank for axis in node.args[1]]  # type: ignore[union-attr, arg-type]
    else:
        order = list(range(rank))
        first, second = [int(axis) % rank for axis in node.args[1:3]]  # type: ignore[arg-type]
        order[first], order[second] = second, first
    return Strided(value.name, tuple(value.dimensions[axis] for axis in order))


def _transpose(value: Strided, node: Node, capture: Capture) -> Strided | None:
    return Strided(value.name, value.dimensions[::-1])


def _expand(value: Strided, node: Node, capture: Capture) -> Strided | None:
    shape = capture.shape_of(node)
    own: list[Dimension] = [()] * (len(shape) - len(value.dimensions)) + list(value.dimensions)
    spread = [
        factors if factors or size == 1 else ((size, ZERO),)
        for factors, size in zip(own, shape, strict=True)
    ]
    return Strided(value.name, tuple(spread))


_VIEWS: dict[object, Callable[[Strided, Node, Capture], Strided | None]] = {
    ATEN.view.default: _reshape,
    ATEN._unsafe_view.default: _reshape,
    ATEN.reshape.default: _reshape,
    ATEN.unsqueeze.default: _reshape,
    ATEN.squeeze.dim: _reshape,
    ATEN.squeeze.dims: _reshape,
    ATEN.permute.default: _permute,
    ATEN.transpose.int: _permute,
    ATEN.t.default: _transpose,
    ATEN.expand.default: _expand,
    # A copy holds the same elements: who reads through strides needs none.
    ATEN.clone.default: _same,
    ATEN.alias.default: _same,
}
