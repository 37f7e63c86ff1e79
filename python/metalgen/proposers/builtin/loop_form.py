"""The loop-level form, between the graph and Metal: what kernels are made from, and only from it.

`loop_build` makes it from fused groups, the passes `arrange` and `schedule` turn it into itself,
`loop_verify` checks it after each, and `emit_*` write what it says as MSL and launches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from metalgen.proposers.builtin.expressions import Expr, Load, Variable, compute_type, walk
from metalgen.proposers.builtin.indexing import Axis, Index
from metalgen.proposers.builtin.loop_text import Lines, index_text
from metalgen.proposers.builtin.schedules import Schedule
from metalgen.proposers.builtin.tensors import Idx

Kind = Literal["elementwise", "rows", "product", "scan", "recurrence"]
How = Literal["store", "reduce", "dot", "scan"]
Role = Literal["input", "parameter", "constant", "between", "output", "local"]


@dataclass(frozen=True)
class Buffer:
    """Row-major memory: `name` in the launch plan, `word` in kernels; `values` of a constant.

    What is "local" is each thread's own and in no plan.
    """

    name: str
    word: str
    dtype: torch.dtype
    shape: Idx
    role: Role
    values: tuple[float | int | bool, ...] = ()


@dataclass(frozen=True)
class Statement:
    """`result[target] = values`, within further loops over `inner`.

    `how` says what is done with the values over `inner`: "store" keeps each where it belongs;
    "reduce" gathers them by `kind` (sum, max, ...; a second value is the place that argmax and
    argmin give); "dot" sums products of two; "scan" keeps what is gathered so far. Without a target
    the result lives within its loops only. `overlaps`: neighbouring results read the same elements.
    """

    result: str
    dtype: torch.dtype
    how: How
    values: tuple[Expr, ...]
    target: Index | None
    inner: tuple[Axis, ...] = ()
    kind: str = ""
    overlaps: bool = False

    @property
    def value(self) -> Expr:
        """What is stored or gathered: the first of the values."""
        return self.values[0]

    @property
    def stored(self) -> Expr:
        """What goes to the target: the value itself, or the variable that gathered it."""
        if self.how == "store":
            return self.value
        return Variable(compute_type(self.dtype), self.result)


@dataclass(frozen=True)
class LoopNest:
    """One kernel; iterations of its `axes` may run in any order, `schedule` says on which threads.

    There is no schedule before the pass that chooses it. With `steps` the statements run once for
    each place of that axis, in order, between those `before` and `after`; `carried` are pairs of
    local memory, the state and what a step makes of it, which is the state of the next.
    """

    name: str
    kind: Kind
    axes: tuple[Axis, ...]
    statements: tuple[Statement, ...]
    schedule: Schedule | None = None
    before: tuple[Statement, ...] = ()
    after: tuple[Statement, ...] = ()
    steps: Axis | None = None
    carried: tuple[tuple[str, str], ...] = ()

    @property
    def all_statements(self) -> tuple[Statement, ...]:
        """In the order they run."""
        return (*self.before, *self.statements, *self.after)

    @property
    def local(self) -> frozenset[str]:
        """Names of memory that each thread has for itself."""
        return frozenset(name for pair in self.carried for name in pair)

    @property
    def results(self) -> tuple[Statement, ...]:
        """What the kernel leaves in memory, each result once."""
        stores = (each for each in self.all_statements if each.target is not None)
        found = {each.result: each for each in stores if each.result not in self.local}
        return tuple(found.values())

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the buffers that are read, each once."""
        values = walk(*(value for each in self.all_statements for value in each.values))
        loads = (value.buffer for value in values if isinstance(value, Load))
        return tuple(dict.fromkeys(name for name in loads if name not in self.local))


@dataclass(frozen=True)
class LoopForm:
    """Nests in the order they run, and all memory by name; `outputs` must be written."""

    nests: tuple[LoopNest, ...]
    buffers: Mapping[str, Buffer]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(line for nest in self.nests for line in _lines(nest))


def _lines(nest: LoopNest) -> Iterator[str]:
    yield f"{nest.name}: {nest.kind} parallel({_loops(nest.axes)})"
    if nest.schedule is not None:
        yield f"  on {nest.schedule}"
    yield from _statement_lines(nest.before, "  ")
    if nest.steps is not None:
        yield f"  for {_loops((nest.steps,))} in order:"
    yield from _statement_lines(nest.statements, "  " if nest.steps is None else "    ")
    for state, after in nest.carried:
        yield f"    {state} = {after}"
    yield from _statement_lines(nest.after, "  ")


def _statement_lines(statements: Sequence[Statement], indent: str) -> Iterator[str]:
    for statement in statements:
        depth = indent
        if statement.inner:
            yield f"{indent}for {_loops(statement.inner)}:"
            depth += "  "
        lines = Lines()
        values = ", ".join(map(lines.text, statement.values))
        yield from (depth + line for line in lines.before)
        place = f"[{index_text(statement.target)}]" if statement.target is not None else ""
        yield f"{depth}{statement.result}{place} = {_gathered(statement, values)}"


def _gathered(statement: Statement, values: str) -> str:
    if statement.how == "store":
        return values
    name = {"dot": "dot", "scan": f"running {statement.kind}"}.get(statement.how, statement.kind)
    return f"{name}({values})"


def _loops(axes: Sequence[Axis]) -> str:
    return ", ".join(f"{axis.name} < {index_text(axis.extent)}" for axis in axes)
