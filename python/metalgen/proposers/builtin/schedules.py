"""Which threads run a loop nest: one kind of schedule for each kind of nest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metalgen.proposers.builtin.division import unflatten
from metalgen.proposers.builtin.indexing import ONE, Axis, Index, product

Mode = Literal["thread", "simdgroup", "threadgroup"]
NARROW = 32


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
        """MSL's type of a thread's position."""
        return "uint" if len(self.sizes) == 1 else f"uint{len(self.sizes)}"


@dataclass(frozen=True)
class PerElement:
    """A thread for each place of the parallel axes."""

    grid: Grid

    @property
    def group(self) -> tuple[int, ...]:
        """A threadgroup's size."""
        return self.grid.group

    def __str__(self) -> str:
        return f"a thread each, groups of {_by(self.grid.group)}"


@dataclass(frozen=True)
class PerRow:
    """A thread, SIMD-group or threadgroup for each place of the parallel axes shares inner loops.

    `group` is a threadgroup's size; what a row's threads gathered is joined at the end of a loop.
    """

    mode: Mode
    grid: Grid
    group: tuple[int, ...]

    def __str__(self) -> str:
        who = {"simdgroup": "SIMD-group"}.get(self.mode, self.mode)
        return f"a {who} each, groups of {_by(self.group)}"


@dataclass(frozen=True)
class Tile:
    """A threadgroup's share: `rows` x `columns` results, `depth` terms of the sum at a time.

    Thread (x, y) of 32 x `lines` computes neighbouring rows of every 32nd column.
    """

    rows: int
    columns: int
    depth: int
    lines: int

    @property
    def group(self) -> tuple[int, ...]:
        """A threadgroup's size."""
        return (32, self.lines, 1)

    @property
    def rows_per_thread(self) -> int:
        """Neighbouring rows of one thread."""
        return self.rows // self.lines

    @property
    def columns_per_thread(self) -> int:
        """Columns of one thread, 32 apart."""
        return self.columns // 32

    @property
    def shared_bytes(self) -> int:
        """Threadgroup memory of both factors' tiles, padded, in float."""
        return 4 * (self.rows * (self.depth + 1) + self.depth * (self.columns + 1))

    def __str__(self) -> str:
        size = f"{self.rows} x {self.columns}, {self.depth} terms at a time"
        return f"tiles of {size}, groups of 32 x {self.lines}"


Schedule = PerElement | PerRow | Tile


def _by(group: tuple[int, ...]) -> str:
    return " x ".join(map(str, group))


def grid_over(axes: Sequence[Axis]) -> Grid:
    """One thread per place: the fastest axis along x, or all flattened where that is narrow."""
    if not axes:
        return Grid((ONE,), (1,), ())
    total = product(axis.extent for axis in axes)
    if len(axes) == 1 or axes[-1].extent.hint < NARROW:
        return Grid((total,), (threads_for(total.hint),), _taken_apart("position", axes))
    x, y, rest = axes[-1], axes[-2], axes[:-2]
    group = (min(256, threads_for(x.extent.hint)), 1, 1)
    setup = (*_taken_apart("position.z", rest), (y, _at("position.y")), (x, _at("position.x")))
    if not rest:
        return Grid((x.extent, y.extent), group[:2], setup)
    return Grid((x.extent, y.extent, product(axis.extent for axis in rest)), group, setup)


def row_grid(axes: Sequence[Axis], place: str) -> Grid:
    """Rows one after the other along `place`, whatever has a row to itself."""
    total = product(axis.extent for axis in axes)
    return Grid((total,), (1,), digits(axes, Index.of(Axis(place, total))))


def digits(axes: Sequence[Axis], at: Index) -> tuple[tuple[Axis, Index], ...]:
    """Each axis as a digit of the number `at`, the first without a bound."""
    found: list[tuple[Axis, Index]] = []
    for axis in reversed(axes):
        found.append((axis, at if axis is axes[0] else at % axis.extent))
        at = at // axis.extent
    return tuple(reversed(found))


def threads_for(count: int) -> int:
    """A threadgroup's width for `count` threads in a row: whole SIMD-groups, at most 256."""
    return min(256, max(32, (count + 31) // 32 * 32))


def _at(place: str) -> Index:
    return Index.of(Axis(place, Index.of(1) * 2**31))


def _taken_apart(place: str, axes: Sequence[Axis]) -> tuple[tuple[Axis, Index], ...]:
    """Each axis as a digit of one position."""
    total = product(axis.extent for axis in axes)
    position = Index.of(Axis(place, total))
    parts = unflatten(position, tuple(axis.extent for axis in axes)) if axes else ()
    return tuple(zip(axes, parts, strict=True))
