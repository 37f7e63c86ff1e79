"""The loop-level form, between the graph and Metal: loops over named axes, printed and verified."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.evaluate import buffer_name
from metalgen.proposers.builtin.expressions import Expr, Load, Variable, indices, walk
from metalgen.proposers.builtin.fuse import Fusion, Group, Kind, Member, evaluate
from metalgen.proposers.builtin.indexing import Axis
from metalgen.proposers.builtin.loop_text import Lines, index_text
from metalgen.proposers.builtin.tensors import Idx, Matmul, Reduction, Scan, Stored, Table


@dataclass(frozen=True)
class Statement:
    """`result[index] = values`, within further loops over `inner`.

    `how` says what is done with the values over `inner`: "store" (each for itself), "dot" (two
    values), "scan sum", or the reduction's kind. What is not `written` lives within its loops only.
    """

    result: str
    index: Idx
    inner: tuple[Axis, ...]
    how: str
    values: tuple[Expr, ...]
    written: bool


@dataclass(frozen=True)
class LoopNest:
    """One kernel to be; iterations of its `axes` may run in any order."""

    kind: Kind
    axes: tuple[Axis, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class LoopForm:
    """Nests in the order they run; `given` lies in memory before, `outputs` must after."""

    nests: tuple[LoopNest, ...]
    given: frozenset[str]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(line for nest in self.nests for line in _lines(nest))


def loop_form(fusion: Fusion, outputs: Sequence[str]) -> LoopForm:
    """The groups as loops; tensors must have their names by now."""
    given = (t for t in fusion.memory.order if isinstance(t, Stored | Table))
    nests = tuple(_nest(fusion, group) for group in fusion.groups)
    return LoopForm(nests, frozenset(map(buffer_name, given)), tuple(outputs))


def verify_loops(form: LoopForm) -> None:
    """Raise UnsupportedError unless what is read is there by then and all outputs are written.

    Every axis in an index must be a loop around it, and nothing is written twice.
    """
    stored = set(form.given)
    for nest in form.nests:
        local: set[str] = set()
        for statement in nest.statements:
            _verify_statement(nest, statement, stored, local)
            local.add(statement.result)
        for statement in nest.statements:
            if statement.written and statement.result in stored:
                raise _broken(statement, "is written twice")
            if statement.written:
                stored.add(statement.result)
    if missing := [name for name in form.outputs if name not in stored]:
        raise UnsupportedError(f"not supported: loop form: nothing writes {', '.join(missing)}")


def _verify_statement(
    nest: LoopNest, statement: Statement, stored: Collection[str], local: Collection[str]
) -> None:
    around = {*nest.axes, *statement.inner}
    for index in (*indices(*statement.values), *statement.index):
        if outside := index.axes() - around:
            names = ", ".join(sorted(axis.name for axis in outside))
            raise _broken(statement, f"uses {names}, which no loop around it has")
    for value in walk(*statement.values):
        if isinstance(value, Load) and value.buffer not in stored:
            raise _broken(statement, f"reads '{value.buffer}', which is not in memory yet")
        if isinstance(value, Variable) and value.name not in local:
            raise _broken(statement, f"needs '{value.name}', which is not computed yet")


def _broken(statement: Statement, what: str) -> UnsupportedError:
    return UnsupportedError(f"not supported: loop form: '{statement.result}' {what}")


def _nest(fusion: Fusion, group: Group) -> LoopNest:
    evaluator = fusion.evaluator(group)

    def statement(member: Member) -> Statement:
        return Statement(
            buffer_name(member.tensor),
            member.index,
            member.inner,
            _how(member),
            evaluate(evaluator, member.tensor, member),
            fusion.is_written(member.tensor),
        )

    return LoopNest(group.kind, group.axes, tuple(map(statement, group.members)))


def _how(member: Member) -> str:
    tensor = member.tensor
    if isinstance(tensor, Matmul):
        return "dot"
    if isinstance(tensor, Scan):
        return f"scan {tensor.kind}"
    return tensor.kind if isinstance(tensor, Reduction) else "store"


def _lines(nest: LoopNest) -> Iterator[str]:
    yield f"{nest.kind} parallel({_loops(nest.axes)}):"
    for statement in nest.statements:
        indent = "  "
        if statement.inner:
            yield f"{indent}for {_loops(statement.inner)}:"
            indent += "  "
        lines = Lines()
        values = ", ".join(map(lines.text, statement.values))
        yield from (indent + line for line in lines.before)
        place = f"[{', '.join(map(index_text, statement.index))}]" if statement.written else ""
        value = values if statement.how == "store" else f"{statement.how}({values})"
        yield f"{indent}{statement.result}{place} = {value}"


def _loops(axes: Sequence[Axis]) -> str:
    return ", ".join(f"{axis.name} < {index_text(axis.extent)}" for axis in axes)
