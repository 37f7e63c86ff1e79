"""Kernels with one thread per element."""

from __future__ import annotations

from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.loops import (
    Grid,
    axis_names,
    by_stride,
    grid_over,
    join_axes,
    renamed,
    split_where_divided,
)
from metalgen.proposers.builtin.render import render


def elementwise_kernel(draft: Draft) -> Kernel:
    """Each thread computes the group's results at one place."""
    target = draft.parts[0].accesses[0].target
    assert target is not None
    axes = split_where_divided(draft.work, draft.group.axes)
    target = draft.parts[0].accesses[0].target
    assert target is not None
    axes = join_axes(draft.work, by_stride(axes, target))
    axes = renamed(draft.work, axes, axis_names(len(axes)))
    grid = grid_over(axes)
    draft.writer.open()
    draft.writer.count(*(part.accesses[-1].value for part in draft.parts))
    stores = [draft.store(part) for part in draft.results]
    statements = draft.writer.close() + stores
    source = render(
        "elementwise",
        name=draft.name,
        formulas=draft.formula(),
        setup=axis_lines(draft, grid),
        statements=statements,
        parameters=draft.parameters(
            [f"{grid.position_type} position [[thread_position_in_grid]]"] if axes else []
        ),
    )
    return draft.finish(source, grid_geometry(draft, grid), helpers=set())


def axis_lines(draft: Draft, grid: Grid) -> list[str]:
    """Declarations of the axes from the thread's position."""
    return [f"const uint {axis.name} = {draft.writer.index(at)};" for axis, at in grid.setup]


def grid_geometry(draft: Draft, grid: Grid) -> dict[str, object]:
    return {"threads": draft.extents(*grid.sizes), "group_size": list(grid.group)}
