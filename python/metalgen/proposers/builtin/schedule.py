"""Pass over the loop form: chooses which threads run each nest, by the example's sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from metalgen.proposers.builtin.expressions import indices
from metalgen.proposers.builtin.indexing import Axis, product
from metalgen.proposers.builtin.loop_form import Kind, LoopForm, LoopNest, Statement
from metalgen.proposers.builtin.schedules import (
    Mode,
    PerElement,
    PerRow,
    Schedule,
    Tile,
    grid_over,
    row_grid,
)

# Rows up to this long are left to one SIMD-group, which needs no barriers.
SIMD_ROW = 1024
# Longer ones too where so many rows keep the device busy.
MANY_ROWS, MANY_ROWS_LONG = 512, 8192
SHORT_ROW = 16
ROWS_PER_GROUP = 8
# Running sums over lines shorter than this are a thread's.
SHORT_LINE = 64
LINES_PER_GROUP = 4


def scheduled(form: LoopForm) -> LoopForm:
    """The form with a schedule for every nest, right for all sizes and good for the example's."""
    nests = (replace(nest, schedule=_SCHEDULE[nest.kind](nest)) for nest in form.nests)
    return replace(form, nests=tuple(nests))


def _elementwise(nest: LoopNest) -> Schedule:
    return PerElement(grid_over(nest.axes))


def _product(nest: LoopNest) -> Schedule:
    *_, row, column = nest.axes
    return tile_for(row.extent.hint, column.extent.hint)


def tile_for(rows: int, columns: int) -> Tile:
    """A tile that a small product fills and a large one gets much reuse from."""
    width = 64 if columns > 32 else 32
    for height, lines in ((64, 16), (32, 8), (16, 8)):
        if rows > height // 2:
            return Tile(height, width, 32, lines)
    return Tile(8, width, 32, 8)


def _rows(nest: LoopNest) -> Schedule:
    mode = _mode(nest)
    if mode == "thread":
        grid = grid_over(nest.axes)
        return PerRow(mode, grid, grid.group)
    if mode == "threadgroup":
        return PerRow(mode, row_grid(nest.axes, "position"), (_threads(nest.statements),))
    rows = min(ROWS_PER_GROUP, max(1, product(axis.extent for axis in nest.axes).hint))
    return PerRow(mode, row_grid(nest.axes, "position.y"), (32, rows))


def _mode(nest: LoopNest) -> Mode:
    reduced = [each for each in nest.statements if each.how == "reduce"]
    longest = max(_length(each.inner) for each in reduced)
    count = _length(nest.axes)
    if any(each.value.type == "long" for each in reduced):
        return "thread"  # SIMD-group functions have no 64-bit integers
    if any(each.overlaps for each in reduced):
        return "thread"
    if longest <= SHORT_ROW and count >= 256:
        return "thread"
    if not any(_walks_row(each) for each in reduced) and count >= 256:
        return "thread"
    few = longest <= SIMD_ROW or (longest <= MANY_ROWS_LONG and count >= MANY_ROWS)
    return "simdgroup" if few else "threadgroup"


def _length(axes: Sequence[Axis]) -> int:
    return product(axis.extent for axis in axes).hint


def _walks_row(statement: Statement) -> bool:
    """Whether the largest tensor the loop reads lies along the row in memory."""
    if not statement.inner:
        return True
    mine = set(statement.inner)
    found = [index for index in indices(statement.value) if index.axes() & mine]
    if not found:
        return True
    largest = max(found, key=lambda index: len(index.axes()))
    factor = largest.coefficient(statement.inner[-1])
    return factor is None or factor == 1


def _threads(statements: Sequence[Statement]) -> int:
    longest = max(_length(each.inner) for each in statements)
    return min(1024, max(128, (longest // 8 + 31) // 32 * 32))


def _scan(nest: LoopNest) -> Schedule:
    """A SIMD-group for each line that lies along memory, else a thread."""
    (statement,) = nest.statements
    (along,) = statement.inner
    assert statement.target is not None
    is_near = statement.target.coefficient(along) == 1
    is_whole = statement.value.type in ("long", "bool")  # no 64-bit integers across lanes
    if is_near and not is_whole and along.extent.hint >= SHORT_LINE:
        return PerRow("simdgroup", row_grid(nest.axes, "position.y"), (32, LINES_PER_GROUP))
    grid = grid_over(nest.axes)
    return PerRow("thread", grid, grid.group)


_SCHEDULE: dict[Kind, Callable[[LoopNest], Schedule]] = {
    "elementwise": _elementwise,
    "rows": _rows,
    "product": _product,
    "scan": _scan,
    "recurrence": _elementwise,
}
