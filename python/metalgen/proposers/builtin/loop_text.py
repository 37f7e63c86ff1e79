"""Indices and expressions of the loop-level form as text, long or shared parts on own lines."""

from __future__ import annotations

from collections import Counter

from metalgen.proposers.builtin.expressions import (
    Apply,
    Constant,
    Expr,
    IndexValue,
    Load,
    Variable,
    children,
    walk,
)
from metalgen.proposers.builtin.forms import FORMS, PRIMARY
from metalgen.proposers.builtin.indexing import Atom, Axis, Fetched, Index, Quotient, Size
from metalgen.proposers.builtin.text import _least_binding as least_binding
from metalgen.proposers.builtin.text import _parenthesized as parenthesized
from metalgen.proposers.builtin.text import literal_text

LONGEST = 60


def index_text(index: Index, fetched: dict[str, str] | None = None) -> str:
    """Such as `d0*x_size1 + d1`; what is fetched from memory as the text given for it."""
    text = ""
    for monomial, factor in sorted(index.terms, key=lambda term: term[1] < 0):
        parts = [_atom(atom, fetched or {}) for atom in monomial]
        if abs(factor) != 1 or not parts:
            parts.append(str(abs(factor)))
        sign = "-" if factor < 0 else "+"
        product = "*".join(parts)
        text = f"{text} {sign} {product}" if text else product if factor > 0 else f"-{product}"
    return text or "0"


def _atom(atom: Atom, fetched: dict[str, str]) -> str:
    if isinstance(atom, Axis | Size):
        return atom.name
    if isinstance(atom, Fetched):
        return fetched.get(atom.key, atom.name)
    symbol = "//" if isinstance(atom, Quotient) else "%"
    sides = (index_text(side, fetched) for side in (atom.numerator, atom.divisor))  # type: ignore[attr-defined]
    return f"({f' {symbol} '.join(f'({side})' if ' ' in side else side for side in sides)})"


class Lines:
    """Writes expressions; `before` collects the lines that define what they refer to."""

    def __init__(self) -> None:
        self.before: list[str] = []
        self._texts: dict[int, tuple[str, int]] = {}

    def text(self, root: Expr) -> str:
        """The expression in terms of memory, loops and the lines before it."""
        # A graph of shared parts, deep ones too: neither recursion nor a tree would do.
        uses = Counter(id(child) for value in walk(root) for child in children(value))
        for value in walk(root):
            if id(value) not in self._texts:
                text, binding = self._own(value)
                if isinstance(value, Apply) and (
                    len(text) > LONGEST or (uses[id(value)] > 1 and FORMS[value.form].cost)
                ):
                    text, binding = self._line(text), PRIMARY
                self._texts[id(value)] = text, binding
        return self._texts[id(root)][0]

    def _line(self, text: str) -> str:
        name = f"t{len(self.before)}"
        self.before.append(f"{name} = {text}")
        return name

    def _own(self, value: Expr) -> tuple[str, int]:
        if isinstance(value, Constant):
            text, binding = literal_text(value)
            return text.removesuffix("f"), binding
        if isinstance(value, Variable):
            return value.name, PRIMARY
        if isinstance(value, Load):
            return f"{value.buffer}[{self._index(value.index)}]", PRIMARY
        if isinstance(value, IndexValue):
            return f"({self._index(value.index)})", PRIMARY
        assert isinstance(value, Apply)
        form = FORMS[value.form]
        operands = [
            parenthesized(self._texts[id(arg)], least_binding(form.binding, place, value.form))
            for place, arg in enumerate(value.args)
        ]
        return form.text.format(*operands).replace("precise::", ""), form.binding

    def _index(self, index: Index) -> str:
        atoms = (atom for atom in index.atoms() if isinstance(atom, Fetched))
        return index_text(index, {atom.key: self._texts[id(atom.value)][0] for atom in atoms})
