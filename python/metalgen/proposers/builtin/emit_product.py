"""Kernels for matrix products: tiles in threadgroup memory, a block of results per thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metalgen.proposers.builtin.expressions import Expr, Load, walk
from metalgen.proposers.builtin.indexing import Axis, Index, product
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.render import render
from metalgen.proposers.builtin.schedules import Tile, digits
from metalgen.proposers.builtin.sizes import ceil_divided, plan_expression


def product_kernel(draft: Draft) -> Kernel:
    """The product and everything fused behind it."""
    tile, first = draft.nest.schedule, draft.nest.statements[0]
    assert isinstance(tile, Tile)
    *batch, row, column = draft.nest.axes
    (k,) = first.inner
    left, right = first.values
    draft.writer.open()
    sides = (
        _side(draft, left, k, row, default=True),
        _side(draft, right, k, column, default=False),
    )
    hoisted = draft.writer.close()
    statements = _epilogue(draft)
    source = render(
        "product",
        name=draft.name,
        formulas=draft.formula(),
        tile=tile,
        setup=_batch_lines(draft, batch) + hoisted,
        rows=draft.size(row.extent),
        columns=draft.size(column.extent),
        depth=draft.size(k.extent),
        left=sides[0],
        right=sides[1],
        result=first.result,
        statements=statements,
        parameters=draft.parameters(
            [
                "uint3 group [[threadgroup_position_in_grid]]",
                "uint3 place [[thread_position_in_threadgroup]]",
            ]
        ),
    )
    return draft.finish(source, _launch(tile, row, column, batch), helpers=set())


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


def _batch_lines(draft: Draft, axes: list[Axis]) -> list[str]:
    at = Index.of(Axis("group.z", product(axis.extent for axis in axes)))
    parts = reversed(digits(axes, at))
    lines = [f"const uint {axis.name} = {draft.writer.index(digit)};" for axis, digit in parts]
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


def _epilogue(draft: Draft) -> list[str]:
    draft.writer.open()
    draft.writer.open(draft.nest.axes)
    draft.writer.count(*(statement.stored for statement in draft.nest.results))
    stores = [draft.store(statement) for statement in draft.nest.results]
    lines = draft.writer.close() + stores
    # What depends on no axis at all was put before the loops' bodies; here that is the same place.
    return draft.writer.close() + lines


def _launch(tile: Tile, row: Axis, column: Axis, batch: list[Axis]) -> dict[str, Any]:
    count = product(axis.extent for axis in batch)
    return {
        "threadgroups": [
            ceil_divided(column.extent, tile.columns),
            ceil_divided(row.extent, tile.rows),
            plan_expression(count),
        ],
        "group_size": list(tile.group),
    }
