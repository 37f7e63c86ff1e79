"""Pass over the loop form: splits, joins, orders and names the axes of every nest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metalgen.proposers.builtin.expressions import Rewriter, indices
from metalgen.proposers.builtin.indexing import ZERO, Atom, Axis, Index
from metalgen.proposers.builtin.loop_form import Kind, LoopForm, LoopNest, Statement
from metalgen.proposers.builtin.solve import split_axes

AXIS_NAMES: tuple[tuple[str, ...], ...] = (
    (),
    ("i",),
    ("row", "column"),
    ("plane", "row", "column"),
    ("batch", "plane", "row", "column"),
)
INNER_NAMES = ((), ("column",), ("line", "column"), ("layer", "line", "column"))
# Names for what is reduced where the results themselves have rows and columns.
DEEP_NAMES = ((), ("entry",), ("line", "entry"), ("layer", "line", "entry"))


def arranged(form: LoopForm) -> LoopForm:
    """The form with the axes that its kernels walk, fewest and fastest last."""
    return replace(form, nests=tuple(_arranged(nest) for nest in form.nests))


def _arranged(nest: LoopNest) -> LoopNest:
    if nest.steps is not None:
        return _recurrence(nest, nest.steps)
    work = Work(list(nest.statements))
    axes = _ARRANGE[nest.kind](work, nest.axes)
    return replace(nest, axes=axes, statements=tuple(work.statements))


@dataclass
class Work:
    """A nest's statements, rewritten together."""

    statements: list[Statement]

    def all_indices(self) -> list[Index]:
        """Every place that is read, written or counted."""
        found = indices(*(value for each in self.statements for value in each.values))
        return found + [each.target for each in self.statements if each.target is not None]

    def replace(self, values: dict[Atom, Index]) -> None:
        """Put indices in the place of axes, everywhere."""
        rewriter = Rewriter(values.get)
        for i, each in enumerate(self.statements):
            self.statements[i] = replace(
                each,
                values=tuple(map(rewriter.expression, each.values)),
                target=None if each.target is None else rewriter.index(each.target),
            )

    def set_inner(self, place: int, axes: tuple[Axis, ...]) -> None:
        """Give the statement at `place` these further loops."""
        self.statements[place] = replace(self.statements[place], inner=axes)


def _elementwise(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    axes = split_where_divided(work, axes)
    target = work.statements[0].target
    assert target is not None
    axes = join_axes(work, by_stride(axes, target))
    return renamed(work, axes, axis_names(len(axes)))


def _product(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    *batch, row, column = axes
    (k,) = work.statements[0].inner
    outer = join_axes(work, split_where_divided(work, tuple(batch)))
    names = ("batch",) if len(outer) == 1 else tuple(f"batch{i}" for i in range(len(outer)))
    outer = renamed(work, outer, names)
    row, column, k = renamed(work, (row, column, k), ("row", "column", "k"))
    work.set_inner(0, (k,))
    return (*outer, row, column)


def _rows(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    outer = split_where_divided(work, axes)
    for i, each in enumerate(work.statements):
        work.set_inner(i, split_where_divided(work, each.inner))
    outer = join_axes(work, outer)
    for i in range(len(work.statements)):
        inner = join_axes(work, _ordered(work.statements[i]))
        names = _inner_names(len(inner), DEEP_NAMES if len(outer) > 1 else INNER_NAMES)
        work.set_inner(i, renamed(work, inner, names))
    return renamed(work, outer, _row_names(len(outer)))


def _scan(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    outer = join_axes(work, split_where_divided(work, axes))
    outer = renamed(work, outer, _row_names(len(outer)))
    work.set_inner(0, renamed(work, work.statements[0].inner, ("place",)))
    return outer


_ARRANGE: dict[Kind, Callable[[Work, tuple[Axis, ...]], tuple[Axis, ...]]] = {
    "elementwise": _elementwise,
    "rows": _rows,
    "product": _product,
    "scan": _scan,
}


def _recurrence(nest: LoopNest, steps: Axis) -> LoopNest:
    """All statements share the loops over a thread's part of the state."""
    work = Work(list(nest.all_statements))
    axes = join_axes(work, split_where_divided(work, nest.axes))
    axes = renamed(work, axes, axis_names(len(axes)))
    inner = max((each.inner for each in nest.all_statements), key=len)
    names = dict(
        zip(inner, renamed(work, inner, _inner_names(len(inner), DEEP_NAMES)), strict=True)
    )
    for i, each in enumerate(work.statements):
        work.set_inner(i, tuple(names[axis] for axis in each.inner))
    (steps,) = renamed(work, (steps,), ("step",))
    first, last = len(nest.before), len(nest.before) + len(nest.statements)
    done = tuple(work.statements)
    before, statements, after = done[:first], done[first:last], done[last:]
    return replace(nest, axes=axes, statements=statements, before=before, after=after, steps=steps)


def _ordered(statement: Statement) -> tuple[Axis, ...]:
    if statement.how != "store" or statement.target is None:
        return statement.inner
    return by_stride(statement.inner, statement.target)


def split_where_divided(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Splits axes that indices take apart with / and %; gives the axes that remain."""
    mine = set(axes)
    current = list(axes)
    for split in split_axes(work.all_indices()):
        if split.axis not in mine:
            continue
        mine |= {split.slow, split.fast}
        work.replace({split.axis: split.value})
        place = current.index(split.axis)
        current[place : place + 1] = [split.slow, split.fast]
    return tuple(current)


def join_axes(work: Work, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Joins neighbouring axes that every index walks like one long axis."""
    current = [axis for axis in axes if axis.extent != 1]
    dropped = [axis for axis in axes if axis.extent == 1]
    if dropped:
        work.replace(dict.fromkeys(dropped, ZERO))
    place = len(current) - 1
    while place > 0:
        slow, fast = current[place - 1], current[place]
        if _walks_as_one(work.all_indices(), slow, fast):
            joined = Axis(f"{slow.name}j", slow.extent * fast.extent)
            work.replace({slow: ZERO, fast: Index.of(joined)})
            current[place - 1 : place + 1] = [joined]
        place -= 1
    return tuple(current)


def _walks_as_one(found: Sequence[Index], slow: Axis, fast: Axis) -> bool:
    for index in found:
        above, below = index.coefficient(slow), index.coefficient(fast)
        if above is None or below is None or above != below * fast.extent:
            return False
    return True


def by_stride(axes: Sequence[Axis], target: Index) -> tuple[Axis, ...]:
    """The axes in the order in which `target` walks memory, fastest last."""

    def stride(axis: Axis) -> int:
        factor = target.coefficient(axis)
        return -factor.hint if factor is not None else 0

    return tuple(sorted(axes, key=stride))


def renamed(work: Work, axes: Sequence[Axis], names: Sequence[str]) -> tuple[Axis, ...]:
    """The axes under new names."""
    fresh = tuple(Axis(name, axis.extent) for axis, name in zip(axes, names, strict=True))
    work.replace({old: Index.of(new) for old, new in zip(axes, fresh, strict=True)})
    return fresh


def axis_names(count: int) -> tuple[str, ...]:
    """Names for so many axes, slowest first."""
    if count < len(AXIS_NAMES):
        return AXIS_NAMES[count]
    return (*(f"axis{i}" for i in range(count - 4)), *AXIS_NAMES[4])


def _row_names(count: int) -> tuple[str, ...]:
    return axis_names(count) if count != 1 else ("row",)


def _inner_names(count: int, names: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    if count < len(names):
        return names[count]
    return (*(f"inner{i}" for i in range(count - 3)), *names[3])
