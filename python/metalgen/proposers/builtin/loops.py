"""Arranges a kernel's axes: joins those that memory walks as one, and orders them for the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metalgen.proposers.builtin.division import unflatten
from metalgen.proposers.builtin.expressions import Expr, Rewriter, indices
from metalgen.proposers.builtin.indexing import ZERO, Atom, Axis, Index, product
from metalgen.proposers.builtin.solve import split_axes


@dataclass
class Access:
    """An expression and, for results, where it goes."""

    value: Expr
    target: Index | None = None


@dataclass
class Work:
    """Expressions over common axes, rewritten together."""

    accesses: list[Access] = field(default_factory=list)

    def all_indices(self) -> list[Index]:
        found = indices(*(access.value for access in self.accesses))
        return found + [access.target for access in self.accesses if access.target is not None]

    def replace(self, values: dict[Atom, Index]) -> None:
        rewriter = Rewriter(values.get)
        for access in self.accesses:
            access.value = rewriter.expression(access.value)
            if access.target is not None:
                access.target = rewriter.index(access.target)


def split_where_divided(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Splits axes that indices take apart with / and %; gives the axes that remain."""
    mine = set(axes)
    current = list(axes)
    for split in split_axes(work.all_indices()):
        if split.axis not in mine:
            continue
        mine |= {split.slow, split.fast}
        work.replace({split.axis: split.value})
        place = current.index(split.axis)
        current[place : place + 1] = [split.slow, split.fast]
    return tuple(current)


def join_axes(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Joins neighbouring axes that every index walks like one long axis."""
    current = [axis for axis in axes if axis.extent != 1]
    dropped = [axis for axis in axes if axis.extent == 1]
    if dropped:
        work.replace(dict.fromkeys(dropped, ZERO))
    place = len(current) - 1
    while place > 0:
        slow, fast = current[place - 1], current[place]
        if _walks_as_one(work.all_indices(), slow, fast):
            joined = Axis(f"{slow.name}j", slow.extent * fast.extent)
            work.replace({slow: ZERO, fast: Index.of(joined)})
            current[place - 1 : place + 1] = [joined]
        place -= 1
    return tuple(current)


def _walks_as_one(found: Sequence[Index], slow: Axis, fast: Axis) -> bool:
    for index in found:
        above, below = index.coefficient(slow), index.coefficient(fast)
        if above is None or below is None or above != below * fast.extent:
            return False
    return True


def by_stride(axes: Sequence[Axis], target: Index) -> tuple[Axis, ...]:
    """The axes in the order in which `target` walks memory, fastest last."""

    def stride(axis: Axis) -> int:
        factor = target.coefficient(axis)
        return -factor.hint if factor is not None else 0

    return tuple(sorted(axes, key=stride))


def renamed(work: Work, axes: Sequence[Axis], names: Sequence[str]) -> tuple[Axis, ...]:
    """The axes under new names."""
    fresh = tuple(Axis(name, axis.extent) for axis, name in zip(axes, names, strict=True))
    work.replace({old: Index.of(new) for old, new in zip(axes, fresh, strict=True)})
    return fresh


AXIS_NAMES: tuple[tuple[str, ...], ...] = (
    (),
    ("i",),
    ("row", "column"),
    ("plane", "row", "column"),
    ("batch", "plane", "row", "column"),
)


def axis_names(count: int) -> tuple[str, ...]:
    """Names for so many axes, slowest first."""
    if count < len(AXIS_NAMES):
        return AXIS_NAMES[count]
    return (*(f"axis{i}" for i in range(count - 4)), *AXIS_NAMES[4])


@dataclass(frozen=True)
class Grid:
    """How threads cover axes: one size per grid dimension, x first, and what each thread computes.

    `setup` gives the value of every axis from `position.x`, `.y`, `.z`.
    """

    sizes: tuple[Index, ...]
    group: tuple[int, ...]
    setup: tuple[tuple[Axis, Index], ...]

    @property
    def position_type(self) -> str:
        return "uint" if len(self.sizes) == 1 else f"uint{len(self.sizes)}"


NARROW = 32


def grid_over(axes: Sequence[Axis]) -> Grid:
    """One thread per place: the fastest axis along x, or all flattened where that is narrow."""
    if not axes:
        return Grid((Index.of(1),), (1,), ())
    total = product(axis.extent for axis in axes)
    if len(axes) == 1 or axes[-1].extent.hint < NARROW:
        return Grid((total,), (threads_for(total.hint),), _taken_apart("position", axes))
    x, y, rest = axes[-1], axes[-2], axes[:-2]
    group = (min(256, threads_for(x.extent.hint)), 1, 1)
    setup = (*_taken_apart("position.z", rest), (y, _at("position.y")), (x, _at("position.x")))
    if not rest:
        return Grid((x.extent, y.extent), group[:2], setup)
    return Grid((x.extent, y.extent, product(axis.extent for axis in rest)), group, setup)


def threads_for(count: int) -> int:
    """A threadgroup's width for `count` threads in a row: whole SIMD-groups, at most 256."""
    return min(256, max(32, (count + 31) // 32 * 32))


def _at(place: str) -> Index:
    return Index.of(Axis(place, Index.of(1) * 2**31))


def _taken_apart(place: str, axes: Sequence[Axis]) -> tuple[tuple[Axis, Index], ...]:
    """Each axis as a digit of one position."""
    total = product(axis.extent for axis in axes)
    position = Index.of(Axis(place, total))
    digits = unflatten(position, tuple(axis.extent for axis in axes)) if axes else ()
    return tuple(zip(axes, digits, strict=True))
