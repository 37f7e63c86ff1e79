"""Kernels that reduce rows: one thread, one SIMD-group or one threadgroup for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metalgen.proposers.builtin.accumulators import Accumulator, accumulator
from metalgen.proposers.builtin.emit_elementwise import axis_lines
from metalgen.proposers.builtin.expressions import Expr, Variable, walk
from metalgen.proposers.builtin.indexing import Axis, Index, product
from metalgen.proposers.builtin.kernel import Draft, Kernel
from metalgen.proposers.builtin.loop_form import Statement
from metalgen.proposers.builtin.render import indented, render
from metalgen.proposers.builtin.schedules import Mode, PerRow, digits


def rows_kernel(draft: Draft) -> Kernel:
    """All passes over a row in one kernel: reductions in order of need, then the results."""
    schedule = draft.nest.schedule
    assert isinstance(schedule, PerRow)
    body = RowBody(draft, schedule.mode)
    lines = body.lines()
    source = render(
        "rows",
        mode=schedule.mode,
        name=draft.name,
        formulas=draft.formula(),
        geometry=_geometry_comment(schedule.mode),
        shared=body.shared(),
        setup=axis_lines(draft, schedule.grid),
        body=indented(lines),
        parameters=draft.parameters(row_attributes(schedule)),
    )
    return draft.finish(source, row_geometry(draft, schedule), helpers=body.helpers)


def row_attributes(schedule: PerRow) -> list[str]:
    """The parameters that tell a thread which row is its own, and which part of it."""
    if schedule.mode == "thread":
        return [f"{schedule.grid.position_type} position [[thread_position_in_grid]]"]
    if schedule.mode == "simdgroup":
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


def row_geometry(draft: Draft, schedule: PerRow) -> dict[str, Any]:
    """The launch, as the plan writes it."""
    sizes = draft.extents(*schedule.grid.sizes)
    group = list(schedule.group)
    if schedule.mode == "threadgroup":
        return {"threadgroups": sizes, "group_size": group}
    return {"threads": sizes if schedule.mode == "thread" else [32, *sizes], "group_size": group}


def _geometry_comment(mode: Mode) -> str:
    return {
        "thread": "One thread per result.",
        "simdgroup": "One SIMD-group per row, rows along y; rows of any length.",
        "threadgroup": "One threadgroup per row, its width a multiple of 32; rows of any length.",
    }[mode]


class RowBody:
    """Writes the passes of a kernel."""

    def __init__(self, draft: Draft, mode: Mode) -> None:
        self._draft = draft
        self._mode = mode
        self._accumulators: list[Accumulator] = []
        self.helpers: set[str] = set()

    def lines(self) -> list[str]:
        writer = self._draft.writer
        scope = writer.open()
        for loop in self._reduction_loops():
            self._reduce(loop, scope.lines)
        for loop in self._store_loops():
            self._write(loop, scope.lines)
        return writer.close()

    def stores(self, statements: Sequence[Statement]) -> list[str]:
        """Statements that gather nothing, in a block of their own."""
        scope = self._draft.writer.open()
        for statement in statements:
            self._write([statement], scope.lines)
        return self._draft.writer.close()

    def shared(self) -> list[str]:
        """Declarations of threadgroup memory."""
        if self._mode != "threadgroup":
            return []
        types = sorted({type_ for acc in self._accumulators for type_ in acc.shared_types})
        return [
            f"threadgroup {type_} partial_{type_}[32];  // one entry per SIMD-group"
            for type_ in types
        ]

    def _reduction_loops(self) -> list[list[Statement]]:
        """Reductions that may share a loop, in order of need."""
        levels: dict[str, int] = {}
        loops: dict[tuple[int, object], list[Statement]] = {}
        for statement in self._draft.nest.statements:
            if statement.how != "reduce":
                continue
            needed = [levels[name] for name in _variables(statement.value) if name in levels]
            level = max(needed, default=-1) + 1
            levels[statement.result] = level
            loops.setdefault((level, _key(statement)), []).append(statement)
        return [loops[key] for key in sorted(loops, key=lambda key: key[0])]

    def _store_loops(self) -> list[list[Statement]]:
        loops: dict[object, list[Statement]] = {}
        for statement in self._draft.nest.statements:
            if statement.target is None:
                continue
            key = _key(statement) if statement.how == "store" else ()
            loops.setdefault(key, []).append(statement)
        return list(loops.values())

    def _reduce(self, loop: list[Statement], lines: list[str]) -> None:
        writer, mode = self._draft.writer, self._mode
        accumulators = [accumulator(statement) for statement in loop]
        self._accumulators += accumulators
        head, depth, tail = self._loop(loop[0].inner)
        writer.open(loop[0].inner)
        writer.count(*(statement.value for statement in loop))
        updates: list[str] = []
        for acc, statement in zip(accumulators, loop, strict=True):
            value, *rest = statement.values
            place = writer.text(rest[0]) if rest else ""
            updates += acc.update(writer.text(value), place)
        body = writer.close() + updates
        for acc in accumulators:
            lines += acc.declare()
        lines += [*head, *indented(body, depth).split("\n"), *tail]
        for acc in accumulators:
            lines += acc.combine(mode)
            self.helpers |= acc.helpers(mode)

    def _write(self, loop: list[Statement], lines: list[str]) -> None:
        writer = self._draft.writer
        axes = loop[0].inner if loop[0].how == "store" else ()
        writer.open(axes)
        writer.count(*(statement.stored for statement in loop))
        stores = [self._draft.store(statement) for statement in loop]
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
        if self._mode != "thread" and len(axes) > 1 and axes[-1].extent.hint < 64:
            return self._flat_loop(axes)
        head: list[str] = []
        for depth, axis in enumerate(axes):
            fastest = axis is axes[-1] and self._mode != "thread"
            start, step = self._share() if fastest else ("0", "")
            advance = f"{axis.name} += {step}" if step else f"++{axis.name}"
            limit = self._draft.writer.index(axis.extent)
            text = f"for (uint {axis.name} = {start}; {axis.name} < {limit}; {advance}) {{"
            head.append("  " * depth + text)
        tail = ["  " * depth + "}" for depth in reversed(range(len(axes)))]
        return head, len(axes), tail

    def _alone(self) -> bool:
        """Whether one of the row's threads must do what is to be done once."""
        return self._mode != "thread"

    def _first_thread(self) -> str:
        return "lane" if self._mode == "simdgroup" else "thread_id"

    def _flat_loop(self, axes: tuple[Axis, ...]) -> tuple[list[str], int, list[str]]:
        """One loop over all axes, for rows whose fastest axis is too short for a SIMD-group."""
        start, step = self._share()
        total = product(axis.extent for axis in axes)
        limit = self._draft.writer.index(total)
        head = [f"for (uint place = {start}; place < {limit}; place += {step}) {{"]
        writer, at = self._draft.writer, Index.of(Axis("place", total))
        parts = [
            f"  const uint {axis.name} = {writer.index(digit)};"
            for axis, digit in reversed(digits(axes, at))
        ]
        return [*head, *reversed(parts)], 1, ["}"]

    def _share(self) -> tuple[str, str]:
        """Where a thread begins in a row and how far it steps."""
        return ("lane", "32") if self._mode == "simdgroup" else ("thread_id", "threads")


def _key(statement: Statement) -> tuple[tuple[str, str], ...]:
    """Equal for statements whose loops may be one."""
    return tuple((axis.name, axis.extent.key) for axis in statement.inner)


def _variables(value: Expr) -> list[str]:
    return [part.name for part in walk(value) if isinstance(part, Variable)]
