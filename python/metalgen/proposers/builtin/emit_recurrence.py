"""Kernels of recurrences: each thread keeps its part of the state and goes through all steps."""

from __future__ import annotations

from metalgen.proposers.builtin.emit_elementwise import axis_lines, grid_geometry
from metalgen.proposers.builtin.emit_rows import RowBody
from metalgen.proposers.builtin.indexing import product
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.render import render
from metalgen.proposers.builtin.schedules import PerElement


def recurrence_kernel(draft: Draft) -> Kernel:
    """The state's first value, the steps with their reductions and stores, and its last value."""
    nest, schedule = draft.nest, draft.nest.schedule
    assert isinstance(schedule, PerElement)
    assert nest.steps is not None
    body = RowBody(draft, "thread")
    grid = schedule.grid
    source = render(
        "recurrence",
        name=draft.name,
        formulas=draft.formula(),
        setup=axis_lines(draft, grid),
        before=[_array(draft, state) for state, _ in nest.carried] + body.stores(nest.before),
        body=[_array(draft, after) for _, after in nest.carried]
        + body.lines()
        + [line for pair in nest.carried for line in _handed_on(draft, *pair)],
        after=body.stores(nest.after),
        step=nest.steps.name,
        length=draft.size(nest.steps.extent),
        parameters=draft.parameters(
            [f"{grid.position_type} position [[thread_position_in_grid]]"] if nest.axes else []
        ),
    )
    return draft.finish(source, grid_geometry(draft, grid), helpers=body.helpers)


def _array(draft: Draft, name: str) -> str:
    binding = draft.bindings[name]
    return f"{binding.storage} {binding.name}[{_length(draft, name)}];"


def _handed_on(draft: Draft, state: str, after: str) -> list[str]:
    to, source = draft.bindings[state].name, draft.bindings[after].name
    return [f"for (uint i = 0; i < {_length(draft, state)}; ++i) {to}[i] = {source}[i];"]


def _length(draft: Draft, name: str) -> str:
    return draft.size(product(draft.memory(name).shape))
