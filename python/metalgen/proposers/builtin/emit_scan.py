"""Kernels for running sums and products along one dimension."""

from __future__ import annotations

from metalgen.proposers.builtin.emit_elementwise import axis_lines
from metalgen.proposers.builtin.emit_rows import row_attributes, row_geometry
from metalgen.proposers.builtin.expressions import Variable
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.render import render
from metalgen.proposers.builtin.schedules import PerRow


def scan_kernel(draft: Draft) -> Kernel:
    """A line per SIMD-group where lines lie along memory, else a line per thread."""
    (statement,) = draft.nest.statements
    (along,) = statement.inner
    schedule = draft.nest.schedule
    assert isinstance(schedule, PerRow)
    type_ = statement.value.type if statement.value.type != "bool" else "long"
    exact = statement.kind == "sum" and type_ == "float"
    draft.writer.open()
    draft.writer.open(statement.inner)
    draft.writer.count(statement.value)
    value = draft.writer.text(statement.value)
    statements = draft.writer.close()
    before = draft.writer.close()
    store = draft.store(statement, Variable(type_, "running"))
    text = render(
        "scan",
        wide=schedule.mode == "simdgroup",
        exact=exact,
        name=draft.name,
        formulas=draft.formula(),
        type=type_,
        start=1 if statement.kind == "prod" else 0,
        symbol="*" if statement.kind == "prod" else "+",
        length=draft.writer.index(along.extent),
        setup=axis_lines(draft, schedule.grid) + before,
        statements=statements,
        value=value,
        store=store,
        parameters=draft.parameters(row_attributes(schedule)),
    )
    helpers = {"add_exactly"} if exact else set()
    return draft.finish(text, row_geometry(draft, schedule), helpers=helpers)
