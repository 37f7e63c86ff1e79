"""Kernels for matrix products: tiles in threadgroup memory, a block of results per thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metalgen.proposers.builtin.expressions import Expr, Load, walk
from metalgen.proposers.builtin.indexing import Axis, Index, product
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.loops import (
    join_axes,
    renamed,
    split_where_divided,
)
from metalgen.proposers.builtin.render import render
from metalgen.proposers.builtin.sizes import ceil_divided, plan_expression
from metalgen.proposers.builtin.tensors import Matmul


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
    def rows_per_thread(self) -> int:
        return self.rows // self.lines

    @property
    def columns_per_thread(self) -> int:
        return self.columns // 32


def tile_for(rows: int, columns: int) -> Tile:
    """A tile that a small product fills and a large one gets much reuse from."""
    width = 64 if columns > 32 else 32
    for height, lines in ((64, 16), (32, 8), (16, 8)):
        if rows > height // 2:
            return Tile(height, width, 32, lines)
    return Tile(8, width, 32, 8)


def product_kernel(draft: Draft) -> Kernel:
    """The product and everything fused behind it."""
    tensor = draft.group.anchor
    assert isinstance(tensor, Matmul)
    *batch, row, column = draft.group.axes
    (k,) = draft.group.members[0].inner
    batch_axes = join_axes(draft.work, split_where_divided(draft.work, tuple(batch)))
    batch_axes = renamed(draft.work, batch_axes, _batch_names(len(batch_axes)))
    row, column, k = renamed(draft.work, (row, column, k), ("row", "column", "k"))
    tile = tile_for(row.extent.hint, column.extent.hint)
    left, right = draft.parts[0].accesses[:2]
    draft.writer.open()
    sides = (
        _side(draft, left.value, k, row, default=True),
        _side(draft, right.value, k, column, default=False),
    )
    hoisted = draft.writer.close()
    statements = _epilogue(draft, batch_axes, row, column)
    source = render(
        "product",
        name=draft.name,
        formulas=draft.formula(),
        tile=tile,
        setup=_batch_lines(draft, batch_axes) + hoisted,
        rows=draft.size(row.extent),
        columns=draft.size(column.extent),
        depth=draft.size(k.extent),
        left=sides[0],
        right=sides[1],
        result=tensor.name,
        statements=statements,
        parameters=draft.parameters(
            [
                "uint3 group [[threadgroup_position_in_grid]]",
                "uint3 place [[thread_position_in_threadgroup]]",
            ]
        ),
    )
    return draft.finish(source, _launch(tile, row, column, batch_axes), helpers=set())


@dataclass(frozen=True)
class Side:
    """A factor's element as text, and what is computed before it for each line and each k."""

    value: str
    along_k: bool
    line_setup: list[str]
    k_setup: list[str]


def _side(draft: Draft, value: Expr, k: Axis, line: Axis, *, default: bool) -> Side:
    draft.writer.open((line,))
    draft.writer.open((k,))
    text = draft.writer.inline(value, 1)
    k_setup = draft.writer.close()
    return Side(text, _is_along(value, k, line, default=default), draft.writer.close(), k_setup)


def _batch_names(count: int) -> tuple[str, ...]:
    return ("batch",) if count == 1 else tuple(f"batch{i}" for i in range(count))


def _batch_lines(draft: Draft, axes: tuple[Axis, ...]) -> list[str]:
    at = Index.of(Axis("group.z", product(axis.extent for axis in axes)))
    lines: list[str] = []
    for axis in reversed(axes):
        digit = at if axis is axes[0] else at % axis.extent
        lines.append(f"const uint {axis.name} = {draft.writer.index(digit)};")
        at = at // axis.extent
    return list(reversed(lines))


def _is_along(value: Expr, k: Axis, other: Axis, *, default: bool) -> bool:
    """Whether neighbours in memory are neighbours along k rather than along `other`."""
    for part in walk(value):
        if not isinstance(part, Load):
            continue
        along_k, along_other = part.index.coefficient(k), part.index.coefficient(other)
        if along_k == 1:
            return True
        if along_other == 1:
            return False
    return default


def _epilogue(draft: Draft, batch: tuple[Axis, ...], row: Axis, column: Axis) -> list[str]:
    draft.writer.open()
    draft.writer.open((*batch, row, column))
    draft.writer.count(*(part.accesses[-1].value for part in draft.results))
    stores = [draft.store(part) for part in draft.results]
    lines = draft.writer.close() + stores
    # What depends on no axis at all was put before the loops' bodies; here that is the same place.
    return draft.writer.close() + lines


def _launch(tile: Tile, row: Axis, column: Axis, batch: tuple[Axis, ...]) -> dict[str, Any]:
    count = product(axis.extent for axis in batch)
    return {
        "threadgroups": [
            ceil_divided(column.extent, tile.columns),
            ceil_divided(row.extent, tile.rows),
            plan_expression(count),
        ],
        "group_size": [32, tile.lines, 1],
    }
