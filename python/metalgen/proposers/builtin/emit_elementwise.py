"""Kernels with one thread per element."""

from __future__ import annotations

from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.render import render
from metalgen.proposers.builtin.schedules import Grid, PerElement


def elementwise_kernel(draft: Draft) -> Kernel:
    """Each thread computes the nest's results at one place."""
    schedule = draft.nest.schedule
    assert isinstance(schedule, PerElement)
    grid = schedule.grid
    draft.writer.open()
    draft.writer.count(*(statement.value for statement in draft.nest.statements))
    stores = [draft.store(statement) for statement in draft.nest.results]
    statements = draft.writer.close() + stores
    source = render(
        "elementwise",
        name=draft.name,
        formulas=draft.formula(),
        setup=axis_lines(draft, grid),
        statements=statements,
        parameters=draft.parameters(
            [f"{grid.position_type} position [[thread_position_in_grid]]"]
            if draft.nest.axes
            else []
        ),
    )
    return draft.finish(source, grid_geometry(draft, grid), helpers=set())


def axis_lines(draft: Draft, grid: Grid) -> list[str]:
    """Declarations of the axes from the thread's position."""
    return [f"const uint {axis.name} = {draft.writer.index(at)};" for axis, at in grid.setup]


def grid_geometry(draft: Draft, grid: Grid) -> dict[str, object]:
    return {"threads": draft.extents(*grid.sizes), "group_size": list(grid.group)}
