"""Kernels that reduce rows: one thread, one SIMD-group or one threadgroup for each row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from metalgen.proposers.builtin.accumulators import Accumulator, accumulator
from metalgen.proposers.builtin.division import flatten
from metalgen.proposers.builtin.emit_elementwise import axis_lines
from metalgen.proposers.builtin.expressions import Expr, IndexValue, Variable, indices, walk
from metalgen.proposers.builtin.indexing import ONE, Axis, Index, product
from metalgen.proposers.builtin.kernel import Draft, Kernel, Part
from metalgen.proposers.builtin.loops import (
    Access,
    Grid,
    axis_names,
    by_stride,
    grid_over,
    join_axes,
    renamed,
    split_where_divided,
)
from metalgen.proposers.builtin.render import indented, render
from metalgen.proposers.builtin.sizes import plan_expression
from metalgen.proposers.builtin.tensors import Idx, Pointwise, Reduction, positions

Mode = Literal["thread", "simdgroup", "threadgroup"]

# Rows up to this long are left to one SIMD-group, which needs no barriers.
SIMD_ROW = 1024
# Longer ones too where so many rows keep the device busy.
MANY_ROWS, MANY_ROWS_LONG = 512, 8192
SHORT_ROW = 16
ROWS_PER_GROUP = 8
INNER_NAMES = ((), ("column",), ("line", "column"), ("layer", "line", "column"))
# Names for what is reduced where the results themselves have rows and columns.
DEEP_NAMES = ((), ("entry",), ("line", "entry"), ("layer", "line", "entry"))


@dataclass
class Row:
    """A member's loop: its axes, and for argmax the position that is kept."""

    part: Part
    axes: tuple[Axis, ...]
    place: Access | None = None

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Equal for members whose loops may be one."""
        return tuple((axis.name, axis.extent.key) for axis in self.axes)


@dataclass
class Plan:
    """Geometry and loops of one kernel."""

    mode: Mode
    grid: Grid
    threads: int
    rows: list[Row] = field(default_factory=list)


def rows_kernel(draft: Draft) -> Kernel:
    """All passes over a row in one kernel: reductions in order of need, then the results."""
    rows, outer = _arrange(draft)
    mode = _mode(draft, rows, outer)
    plan = Plan(mode, _grid(outer, mode), _threads(rows), rows)
    body = _Body(draft, plan)
    lines = body.lines()
    setup = axis_lines(draft, plan.grid)
    source = render(
        "rows",
        mode=mode,
        name=draft.name,
        formulas=draft.formula(),
        geometry=_geometry_comment(mode),
        shared=body.shared(),
        setup=setup,
        body="\n".join(lines),
        parameters=draft.parameters(_attributes(plan)),
    )
    return draft.finish(source, _launch(draft, plan, outer), helpers=body.helpers)


def _arrange(draft: Draft) -> tuple[list[Row], tuple[Axis, ...]]:
    """Splits, joins and names all axes; gives each member's loop and the axes of the rows."""
    rows = [Row(part, part.member.inner, _place_of(draft, part)) for part in draft.parts]
    outer = split_where_divided(draft.work, draft.group.axes)
    for row in rows:
        row.axes = split_where_divided(draft.work, row.axes)
    outer = join_axes(draft.work, outer)
    for row in rows:
        row.axes = join_axes(draft.work, _ordered(row))
        names = _inner_names(len(row.axes), DEEP_NAMES if len(outer) > 1 else INNER_NAMES)
        row.axes = renamed(draft.work, row.axes, names)
    return rows, renamed(draft.work, outer, axis_names(len(outer)) if len(outer) != 1 else ("row",))


def _ordered(row: Row) -> tuple[Axis, ...]:
    target = row.part.accesses[0].target
    return by_stride(row.axes, target) if target is not None else row.axes


def _inner_names(count: int, names: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    if count < len(names):
        return names[count]
    return (*(f"inner{i}" for i in range(count - 3)), *names[3])


def _place_of(draft: Draft, part: Part) -> Access | None:
    if not isinstance(part.tensor, Reduction) or not part.tensor.kind.startswith("arg"):
        return None
    inner: Idx = positions(part.member.inner)
    place = Access(IndexValue("uint", flatten(inner, part.tensor.inner)))
    draft.work.accesses.append(place)
    return place


def _mode(draft: Draft, rows: list[Row], outer: tuple[Axis, ...]) -> Mode:
    reduced = [row for row in rows if isinstance(row.part.tensor, Reduction)]
    longest = max(product(axis.extent for axis in row.axes).hint for row in reduced)
    count = product(axis.extent for axis in outer).hint
    if any(row.part.value.type == "long" for row in reduced):
        return "thread"  # SIMD-group functions have no 64-bit integers
    if any(isinstance(row.part.tensor, Reduction) and row.part.tensor.overlaps for row in reduced):
        return "thread"
    if longest <= SHORT_ROW and count >= 256:
        return "thread"
    if not any(_walks_row(row) for row in reduced) and count >= 256:
        return "thread"
    few = longest <= SIMD_ROW or (longest <= MANY_ROWS_LONG and count >= MANY_ROWS)
    return "simdgroup" if few else "threadgroup"


def _walks_row(row: Row) -> bool:
    """Whether the largest tensor the loop reads lies along the row in memory."""
    if not row.axes:
        return True
    found = [index for index in indices(row.part.value) if index.axes() & set(row.axes)]
    if not found:
        return True
    largest = max(found, key=lambda index: len(index.axes()))
    factor = largest.coefficient(row.axes[-1])
    return factor is None or factor == 1


def _threads(rows: list[Row]) -> int:
    longest = max(product(axis.extent for axis in row.axes).hint for row in rows)
    return min(1024, max(128, (longest // 8 + 31) // 32 * 32))


def _grid(outer: tuple[Axis, ...], mode: Mode) -> Grid:
    if mode == "thread":
        return grid_over(outer)
    place = "position.y" if mode == "simdgroup" else "position"
    total = product(axis.extent for axis in outer)
    at = Index.of(Axis(place, total))
    if not outer:
        return Grid((ONE,), (1,), ())
    if len(outer) == 1:
        return Grid((total,), (1,), ((outer[0], at),))
    digits: list[tuple[Axis, Index]] = []
    for axis in reversed(outer):
        digits.append((axis, at % axis.extent if axis is not outer[0] else at))
        at = at // axis.extent
    return Grid((total,), (1,), tuple(reversed(digits)))


def _attributes(plan: Plan) -> list[str]:
    if plan.mode == "thread":
        return [f"{plan.grid.position_type} position [[thread_position_in_grid]]"]
    if plan.mode == "simdgroup":
        return [
            "uint2 position [[thread_position_in_grid]]",
            "uint lane [[thread_index_in_simdgroup]]",
        ]
    return [
        "uint position [[threadgroup_position_in_grid]]",
        "uint thread_id [[thread_position_in_threadgroup]]",
        "uint threads [[threads_per_threadgroup]]",
        "uint lane [[thread_index_in_simdgroup]]",
        "uint simdgroup [[simdgroup_index_in_threadgroup]]",
        "uint simdgroups [[simdgroups_per_threadgroup]]",
    ]


def _launch(draft: Draft, plan: Plan, outer: tuple[Axis, ...]) -> dict[str, Any]:
    count = product(axis.extent for axis in outer)
    if plan.mode == "thread":
        return {"threads": draft.extents(*plan.grid.sizes), "group_size": list(plan.grid.group)}
    if plan.mode == "simdgroup":
        rows = min(ROWS_PER_GROUP, max(1, count.hint))
        return {"threads": [32, plan_expression(count)], "group_size": [32, rows]}
    return {"threadgroups": [plan_expression(count)], "group_size": [plan.threads]}


def _geometry_comment(mode: Mode) -> str:
    return {
        "thread": "One thread per result.",
        "simdgroup": "One SIMD-group per row, rows along y; rows of any length.",
        "threadgroup": "One threadgroup per row, its width a multiple of 32; rows of any length.",
    }[mode]


class _Body:
    """Writes the passes of a kernel."""

    def __init__(self, draft: Draft, plan: Plan) -> None:
        self._draft = draft
        self._plan = plan
        self._accumulators: list[Accumulator] = []
        self.helpers: set[str] = set()

    def lines(self) -> list[str]:
        writer = self._draft.writer
        scope = writer.open()
        for loop in self._reduction_loops():
            self._reduce(loop, scope.lines)
        for loop in self._store_loops():
            self._write(loop, scope.lines)
        return ["  " + line for line in writer.close()]

    def shared(self) -> list[str]:
        """Declarations of threadgroup memory."""
        if self._plan.mode != "threadgroup":
            return []
        types = sorted({type_ for acc in self._accumulators for type_ in acc.shared_types})
        return [
            f"threadgroup {type_} partial_{type_}[32];  // one entry per SIMD-group"
            for type_ in types
        ]

    def _reduction_loops(self) -> list[list[Row]]:
        """Reductions that may share a loop, in order of need."""
        levels: dict[str, int] = {}
        loops: dict[tuple[int, object], list[Row]] = {}
        for row in self._plan.rows:
            if not isinstance(row.part.tensor, Reduction):
                continue
            needed = [levels[name] for name in _variables(row.part.value) if name in levels]
            level = max(needed, default=-1) + 1
            levels[row.part.tensor.name] = level
            loops.setdefault((level, row.key), []).append(row)
        return [loops[key] for key in sorted(loops, key=lambda key: key[0])]

    def _store_loops(self) -> list[list[Row]]:
        loops: dict[object, list[Row]] = {}
        for row in self._plan.rows:
            if self._draft.fusion.is_written(row.part.tensor):
                pointwise = isinstance(row.part.tensor, Pointwise)
                loops.setdefault(row.key if pointwise else (), []).append(row)
        return list(loops.values())

    def _reduce(self, loop: list[Row], lines: list[str]) -> None:
        writer, mode = self._draft.writer, self._plan.mode
        accumulators = [accumulator(row.part.tensor, row.part.value.type) for row in loop]
        self._accumulators += accumulators
        head, depth, tail = self._loop(loop[0].axes)
        writer.open(loop[0].axes)
        writer.count(*(row.part.value for row in loop))
        updates: list[str] = []
        for acc, row in zip(accumulators, loop, strict=True):
            place = writer.text(row.place.value) if row.place is not None else ""
            updates += acc.update(writer.text(row.part.value), place)
        body = writer.close() + updates
        for acc in accumulators:
            lines += acc.declare()
        lines += [*head, *indented(body, depth).split("\n"), *tail]
        for acc in accumulators:
            lines += acc.combine(mode)
            self.helpers |= acc.helpers(mode)

    def _write(self, loop: list[Row], lines: list[str]) -> None:
        writer = self._draft.writer
        axes = loop[0].axes if isinstance(loop[0].part.tensor, Pointwise) else ()
        writer.open(axes)
        writer.count(*(row.part.accesses[-1].value for row in loop))
        stores = [self._draft.store(row.part) for row in loop]
        body = writer.close() + stores
        if axes:
            head, depth, tail = self._loop(axes)
            lines += [*head, *indented(body, depth).split("\n"), *tail]
        elif self._alone():
            first = self._first_thread()
            lines += [f"if ({first} == 0) {{", *("  " + line for line in body), "}"]
        else:
            lines += body

    def _loop(self, axes: tuple[Axis, ...]) -> tuple[list[str], int, list[str]]:
        """Opening lines, depth of the body and closing lines of loops over `axes`."""
        if not axes:
            return [f"if ({self._first_thread()} == 0) {{" if self._alone() else "{"], 1, ["}"]
        if self._plan.mode != "thread" and len(axes) > 1 and axes[-1].extent.hint < 64:
            return self._flat_loop(axes)
        head: list[str] = []
        for depth, axis in enumerate(axes):
            fastest = axis is axes[-1] and self._plan.mode != "thread"
            start, step = self._share() if fastest else ("0", "")
            advance = f"{axis.name} += {step}" if step else f"++{axis.name}"
            limit = self._draft.writer.index(axis.extent)
            text = f"for (uint {axis.name} = {start}; {axis.name} < {limit}; {advance}) {{"
            head.append("  " * depth + text)
        tail = ["  " * depth + "}" for depth in reversed(range(len(axes)))]
        return head, len(axes), tail

    def _alone(self) -> bool:
        """Whether one of the row's threads must do what is to be done once."""
        return self._plan.mode != "thread"

    def _first_thread(self) -> str:
        return "lane" if self._plan.mode == "simdgroup" else "thread_id"

    def _flat_loop(self, axes: tuple[Axis, ...]) -> tuple[list[str], int, list[str]]:
        """One loop over all axes, for rows whose fastest axis is too short for a SIMD-group."""
        start, step = self._share()
        total = product(axis.extent for axis in axes)
        limit = self._draft.writer.index(total)
        head = [f"for (uint place = {start}; place < {limit}; place += {step}) {{"]
        at = Index.of(Axis("place", total))
        digits: list[str] = []
        for axis in reversed(axes):
            digit = at if axis is axes[0] else at % axis.extent
            digits.append(f"  const uint {axis.name} = {self._draft.writer.index(digit)};")
            at = at // axis.extent
        return [*head, *reversed(digits)], 1, ["}"]

    def _share(self) -> tuple[str, str]:
        """Where a thread begins in a row and how far it steps."""
        return ("lane", "32") if self._plan.mode == "simdgroup" else ("thread_id", "threads")


def _variables(value: Expr) -> list[str]:
    return [part.name for part in walk(value) if isinstance(part, Variable)]
