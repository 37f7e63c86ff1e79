"""How a value differs between the lanes of a SIMD-group: a lattice of shapes.

Uniform < Linear(stride) < Varying; vectors and aggregates that are not uniform have one shape per
part.
"""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.software.ir.types import Array, Layout, Named, Struct, Type, Vector

MATRIX_ELEMENTS = 64  # a simdgroup_matrix is <64 x T> in AIR, of which a lane owns the first two


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every lane has the same value."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Lane l has lane 0's value plus l times `stride` (bytes for pointers), modulo the width."""

    stride: int


@dataclass(frozen=True, slots=True)
class Varying:
    """Nothing is known."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A vector or aggregate, each part with its own shape."""

    elements: tuple[Shape, ...]


Shape = Uniform | Linear | Varying | Parts

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
    return VARYING


def parts(elements: tuple[Shape, ...]) -> Shape:
    return UNIFORM if all(element == UNIFORM for element in elements) else Parts(elements)


def is_uniform(shape: Shape) -> bool:
    return shape == UNIFORM
