"""Writes what a kernel computes as one line of mathematics, for the comment above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metalgen.proposers.builtin.expressions import (
    Apply,
    Constant,
    Expr,
    IndexValue,
    Load,
    Variable,
)
from metalgen.proposers.builtin.forms import ADD, FORMS, MULTIPLY, PRIMARY
from metalgen.proposers.builtin.loop_form import Statement
from metalgen.proposers.builtin.text import _least_binding as least_binding
from metalgen.proposers.builtin.text import _parenthesized as parenthesized
from metalgen.proposers.builtin.text import literal_text

if TYPE_CHECKING:
    from metalgen.proposers.builtin.kernel import Draft

MOST_OPERATIONS = 24
LONGEST = 94


def formula_of(name: str, statement: Statement, draft: Draft) -> str:
    """`y = gelu(x * w)`; long ones only say how many operations they are."""
    printer = _Printer(draft)
    gathers = statement.how != "store"
    text = (printer.gathered(statement) if gathers else printer.text(statement.value))[0]
    if printer.operations > MOST_OPERATIONS or len(name) + len(text) > LONGEST:
        return f"{name} = {printer.operations} operations on {', '.join(printer.names())}"
    return f"{name} = {text}"


class _Printer:
    """Prints expressions without indices."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._statements = {each.result: each for each in draft.nest.statements}
        self.operations = 0

    def names(self) -> list[str]:
        """The buffers that everything in the kernel reads."""
        return sorted(self._draft.bindings[name].name for name in self._draft.nest.reads) or [
            "nothing"
        ]

    def text(self, value: Expr) -> tuple[str, int]:
        if self.operations > MOST_OPERATIONS:
            return "...", PRIMARY
        if isinstance(value, Constant):
            text, binding = literal_text(value)
            return text.removesuffix("f").removesuffix(".0").lower(), binding
        if isinstance(value, Load):
            return self._draft.bindings[value.buffer].name, PRIMARY
        if isinstance(value, Variable):
            statement = self._statements.get(value.name)
            inside = statement is not None and statement.how in ("dot", "scan")
            return self.gathered(statement) if statement and inside else (value.name, PRIMARY)
        if isinstance(value, IndexValue):
            return _index_name(value), PRIMARY
        assert isinstance(value, Apply)
        return self._apply(value)

    def gathered(self, statement: Statement) -> tuple[str, int]:
        """A reduction, product or scan that the kernel computes itself."""
        self.operations += 1
        if statement.how == "dot":
            left, right = (self.text(value) for value in statement.values)
            both = f"{parenthesized(left, MULTIPLY)} @ {parenthesized(right, ADD + 2)}"
            return both, MULTIPLY
        kind = f"running {statement.kind}" if statement.how == "scan" else statement.kind
        return f"{kind}({self.text(statement.value)[0]})", PRIMARY

    def _apply(self, value: Apply) -> tuple[str, int]:
        form = FORMS[value.form]
        if form.cost == 0:
            return self.text(value.args[0])
        if value.form == "guard":
            return self.text(value.args[1])
        self.operations += 1
        parts = [
            parenthesized(self.text(arg), least_binding(form.binding, position, value.form))
            for position, arg in enumerate(value.args)
        ]
        return form.text.format(*parts).replace("precise::", ""), form.binding


def _index_name(value: IndexValue) -> str:
    return "size" if not value.index.axes() else "index"
