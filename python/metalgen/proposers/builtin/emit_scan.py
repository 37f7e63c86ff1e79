"""Kernels for running sums and products along one dimension."""

from __future__ import annotations

from typing import Any

from metalgen.proposers.builtin.emit_elementwise import axis_lines
from metalgen.proposers.builtin.expressions import Variable
from metalgen.proposers.builtin.indexing import Axis, Index, product
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.loops import (
    Grid,
    axis_names,
    grid_over,
    join_axes,
    renamed,
    split_where_divided,
)
from metalgen.proposers.builtin.render import render
from metalgen.proposers.builtin.sizes import plan_expression
from metalgen.proposers.builtin.tensors import Scan

SHORT_LINE = 64


def scan_kernel(draft: Draft) -> Kernel:
    """A line per SIMD-group where lines lie along memory, else a line per thread."""
    tensor = draft.group.anchor
    assert isinstance(tensor, Scan)
    along = draft.group.axes[tensor.dim]
    others = tuple(axis for axis in draft.group.axes if axis is not along)
    source, result = draft.parts[0].accesses
    outer = join_axes(draft.work, split_where_divided(draft.work, others))
    outer = renamed(draft.work, outer, axis_names(len(outer)) if len(outer) != 1 else ("row",))
    (inner,) = renamed(draft.work, (along,), ("place",))
    type_ = source.value.type if source.value.type != "bool" else "long"
    last = tensor.dim == len(tensor.shape) - 1
    wide = last and type_ != "long" and inner.extent.hint >= SHORT_LINE
    exact = tensor.kind == "sum" and type_ == "float"
    grid = _row_grid(outer) if wide else grid_over(outer)
    draft.writer.open()
    draft.writer.open((inner,))
    draft.writer.count(source.value)
    value = draft.writer.text(source.value)
    statements = draft.writer.close()
    before = draft.writer.close()
    assert result.target is not None
    store = draft.assignment(tensor, result.target, Variable(type_, "running"))
    text = render(
        "scan",
        wide=wide,
        exact=exact,
        name=draft.name,
        formulas=draft.formula(),
        type=type_,
        start=1 if tensor.kind == "prod" else 0,
        symbol="*" if tensor.kind == "prod" else "+",
        length=draft.writer.index(inner.extent),
        setup=axis_lines(draft, grid) + before,
        statements=statements,
        value=value,
        store=store,
        parameters=draft.parameters(_attributes(wide, grid)),
    )
    return draft.finish(
        text, _launch(draft, wide, grid, outer), helpers={"add_exactly"} if exact else set()
    )


def _row_grid(outer: tuple[Axis, ...]) -> Grid:
    total = product(axis.extent for axis in outer)
    at = Index.of(Axis("position.y", total))
    setup: list[tuple[Axis, Index]] = []
    for axis in reversed(outer):
        setup.append((axis, at if axis is outer[0] else at % axis.extent))
        at = at // axis.extent
    return Grid((total,), (1,), tuple(reversed(setup)))


def _attributes(wide: bool, grid: Grid) -> list[str]:
    if not wide:
        return [f"{grid.position_type} position [[thread_position_in_grid]]"]
    return [
        "uint2 position [[thread_position_in_grid]]",
        "uint lane [[thread_index_in_simdgroup]]",
    ]


def _launch(draft: Draft, wide: bool, grid: Grid, outer: tuple[Axis, ...]) -> dict[str, Any]:
    if not wide:
        return {"threads": draft.extents(*grid.sizes), "group_size": list(grid.group)}
    count = product(axis.extent for axis in outer)
    return {"threads": [32, plan_expression(count)], "group_size": [32, 4]}
