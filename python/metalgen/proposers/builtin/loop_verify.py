"""The loop form's verifier: loops, memory, order and schedules, run after every pass."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.expressions import (
    Apply,
    Expr,
    Load,
    Variable,
    children,
    indices,
    walk,
)
from metalgen.proposers.builtin.indexing import Axis, Fetched, Index, product
from metalgen.proposers.builtin.loop_form import Buffer, LoopForm, LoopNest, Statement
from metalgen.proposers.builtin.schedules import PerElement, PerRow, Tile

MAX_THREADS = 1024
SHARED_BYTES = 32 * 1024
_GIVEN = ("input", "parameter", "constant")
_SCHEDULES = {
    "elementwise": PerElement,
    "rows": PerRow,
    "product": Tile,
    "scan": PerRow,
    "recurrence": PerElement,
}


def verify_loops(form: LoopForm) -> None:
    """Raise UnsupportedError where the form cannot be what a kernel should compute.

    Every axis in an index is a loop around it; what is read is in memory or computed by then, and
    within its bounds; nothing is written twice, by two statements or by two iterations; outputs are
    written; schedules are those of their nests and within Metal's limits.
    """
    written = {name for name, buffer in form.buffers.items() if buffer.role in _GIVEN}
    for nest in form.nests:
        _verify_nest(form, nest, written)
        for statement in nest.results:
            if statement.result in written:
                raise _broken(statement, "is written twice")
            written.add(statement.result)
        _verify_schedule(nest)
    if missing := [name for name in form.outputs if name not in written]:
        raise UnsupportedError(f"not supported: loop form: nothing writes {', '.join(missing)}")


def _verify_nest(form: LoopForm, nest: LoopNest, written: Collection[str]) -> None:
    there, local = set(written), set[str]()
    steps = () if nest.steps is None else (nest.steps,)
    phases = ((nest.before, ()), (nest.statements, steps), (nest.after, ()))
    for statements, further in phases:
        axes = (*nest.axes, *further)
        for statement in statements:
            _verify_reads(form, statement, axes, there, local)
            if statement.target is not None:
                own = () if statement.result in nest.local else axes
                _verify_target(form, statement, statement.target, own)
            if statement.result in nest.local:
                there.add(statement.result)
            local.add(statement.result)
    if missing := sorted(nest.local - there):
        raise UnsupportedError(f"not supported: loop form: nothing writes {', '.join(missing)}")


def _verify_reads(
    form: LoopForm,
    statement: Statement,
    axes: tuple[Axis, ...],
    there: Collection[str],
    local: Collection[str],
) -> None:
    around = {*axes, *statement.inner}
    for index in indices(*statement.values):
        if outside := index.axes() - around:
            names = ", ".join(sorted(axis.name for axis in outside))
            raise _broken(statement, f"uses {names}, which no loop around it has")
    for value in walk(*statement.values):
        if isinstance(value, Load) and value.buffer not in there:
            raise _broken(statement, f"reads '{value.buffer}', which is not in memory yet")
        if isinstance(value, Variable) and value.name not in local:
            raise _broken(statement, f"needs '{value.name}', which is not computed yet")
    for load in _unguarded_loads(statement):
        if not _is_within(load.index, form.buffers[load.buffer]):
            raise _broken(statement, f"reads beyond the end of '{load.buffer}'")


def _verify_target(
    form: LoopForm, statement: Statement, target: Index, axes: tuple[Axis, ...]
) -> None:
    """Each iteration of the loops that store must have an element of its own."""
    storing = {*axes, *(statement.inner if statement.how in ("store", "scan") else ())}
    if outside := target.axes() - storing:
        names = ", ".join(sorted(axis.name for axis in outside))
        raise _broken(statement, f"is stored by {names}, which no loop around its store has")
    if same := {axis for axis in storing if axis.extent != 1} - target.axes():
        names = ", ".join(sorted(axis.name for axis in same))
        raise _broken(statement, f"is written twice, by all iterations of {names}")
    if statement.result not in form.buffers:
        raise _broken(statement, "has no memory")
    if not _is_within(target, form.buffers[statement.result]):
        raise _broken(statement, "is stored beyond its end")


def _unguarded_loads(statement: Statement) -> Iterator[Load]:
    """Loads that always happen; the others' indices may lie anywhere."""
    stack: list[Expr] = list(statement.values)
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Load):
            yield value
        is_guard = isinstance(value, Apply) and value.form == "guard"
        stack += children(value)[:1] if is_guard else children(value)


def _is_within(index: Index, buffer: Buffer) -> bool:
    """Whether an index lies in memory for the example's sizes; not known where it is not linear."""
    least = most = index.hint
    for axis in index.axes():
        factor = index.coefficient(axis)
        if factor is None or factor.axes():
            return True
        reach = factor.hint * max(0, axis.extent.hint - 1)
        least, most = least + min(0, reach), most + max(0, reach)
    has_fetched = any(isinstance(atom, Fetched) for atom in index.atoms())
    return has_fetched or (least >= 0 and most < max(1, product(buffer.shape).hint))


def _verify_schedule(nest: LoopNest) -> None:
    schedule = nest.schedule
    if schedule is None:
        return
    if type(schedule) is not _SCHEDULES[nest.kind]:
        raise _unfit(nest, f"a {nest.kind} nest has no {type(schedule).__name__}")
    if math.prod(schedule.group) > MAX_THREADS:
        raise _unfit(nest, f"{math.prod(schedule.group)} threads are more than {MAX_THREADS}")
    if isinstance(schedule, Tile) and schedule.shared_bytes > SHARED_BYTES:
        raise _unfit(nest, f"{schedule.shared_bytes} bytes are more than {SHARED_BYTES}")
    if isinstance(schedule, PerRow) and schedule.mode != "thread":
        if schedule.group[0] % 32:
            raise _unfit(nest, f"{schedule.group[0]} threads are no whole SIMD-groups")
        if any(each.how == "reduce" and each.value.type == "long" for each in nest.statements):
            raise _unfit(nest, "lanes cannot gather 64-bit integers")


def _unfit(nest: LoopNest, what: str) -> UnsupportedError:
    return UnsupportedError(f"not supported: loop form: schedule of '{nest.name}': {what}")


def _broken(statement: Statement, what: str) -> UnsupportedError:
    return UnsupportedError(f"not supported: loop form: '{statement.result}' {what}")
