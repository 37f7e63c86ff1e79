"""How a value differs between the lanes of a SIMD-group: a lattice of shapes.

Uniform < Pattern < Varying; vectors and aggregates that are not uniform have one shape per
part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from metalgen.software.ir.types import Array, Layout, Named, Struct, Type, Vector

WIDTH = 32
MATRIX_ELEMENTS = 64  # a simdgroup_matrix is <64 x T> in AIR, of which a lane owns the first two


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every lane has the same value."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Lane l has a common base plus `offsets[l]` (bytes for pointers), modulo the width.

    Lane 0 has the base itself. It is a multiple of `divisor`, a power of two; where it is known
    when translating it is `base`, and `divisor` 0. If not `exact`, some integers may wrap on the
    way: whether they did is known only at run time.
    """

    offsets: tuple[int, ...]
    divisor: int = 1
    base: int | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Varying:
    """Nothing is known."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A vector or aggregate, each part with its own shape."""

    elements: tuple[Shape, ...]


Shape = Uniform | Pattern | Varying | Parts

UNIFORM = Uniform()
VARYING = Varying()


def part_types(type_: Type, layout: Layout) -> tuple[Type, ...]:
    """The types of a value's parts; empty for scalars. Of a SIMD-group matrix only the lane's own
    two.
    """
    match type_:
        case Vector(count, element):
            return (element,) * (2 if count == MATRIX_ELEMENTS else count)
        case Array(count, element):
            return (element,) * count
        case Struct() | Named():
            return layout.struct(type_).elements
    return ()


def varying(type_: Type, layout: Layout) -> Shape:
    """The top of the lattice for a type."""
    parts = part_types(type_, layout)
    if not parts:
        return VARYING
    return Parts(tuple(varying(part, layout) for part in parts))


def part(shape: Shape, index: int) -> Shape:
    """The shape of one part of a vector or aggregate."""
    return shape.elements[index] if isinstance(shape, Parts) else shape


def join(first: Shape, second: Shape) -> Shape:
    """The least shape that covers both."""
    if first == second:
        return first
    if isinstance(first, Parts) or isinstance(second, Parts):
        count = len((first if isinstance(first, Parts) else second).elements)  # type: ignore[union-attr]
        return parts(tuple(join(part(first, i), part(second, i)) for i in range(count)))
    if isinstance(first, Pattern) and isinstance(second, Pattern):
        return _common(first, second)
    return VARYING


def _common(first: Pattern, second: Pattern) -> Shape:
    if first.offsets != second.offsets:
        return VARYING
    exact = first.exact and second.exact
    if first.base is not None and first.base == second.base:
        return Pattern(first.offsets, 0, first.base, exact)
    return Pattern(first.offsets, math.gcd(_power(first), _power(second)) or 1, None, exact)


def _power(pattern: Pattern) -> int:
    return power_of_two(pattern.divisor if pattern.base is None else pattern.base)


def power_of_two(number: int) -> int:
    """The largest power of two that divides `number`; 0 for 0, which all divide."""
    return number & -number


def signed(number: int, bits: int) -> int:
    """`number` modulo 2^bits, as a two's complement integer of that width."""
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half


def evenly(stride: int) -> tuple[int, ...]:
    """The offsets of lanes that lie `stride` apart."""
    return tuple(stride * lane for lane in range(WIDTH))


def parts(elements: tuple[Shape, ...]) -> Shape:
    return UNIFORM if all(element == UNIFORM for element in elements) else Parts(elements)


def is_uniform(shape: Shape) -> bool:
    return shape == UNIFORM
