"""Sizes in a launch plan's own expressions."""

from __future__ import annotations

from metalgen.errors import UnsupportedError
from metalgen.proposers.builtin.indexing import Atom, Index, Quotient, Remainder, Size


def plan_expression(index: Index) -> int | str:
    """A size as an integer, or as the launch plan's expression over the inputs' shapes."""
    if index.constant is not None:
        return index.constant
    text = ""
    for monomial, factor in sorted(index.terms, key=lambda term: term[1] < 0):
        parts = [_atom(atom) for atom in monomial]
        if abs(factor) != 1 or not parts:
            parts.append(str(abs(factor)))
        sign = ("- " if factor < 0 else "+ ") if text else ("0 - " if factor < 0 else "")
        text = f"{text} {sign}{' * '.join(parts)}" if text else f"{sign}{' * '.join(parts)}"
    return text


def as_one_size(index: Index, name: str) -> Index:
    """A sum of sizes as a single size, so that a kernel takes one number and not every term."""
    if index.constant is not None or len(index.terms) < 2:
        return index
    return Index.of(Size(name, str(plan_expression(index)), index.hint))


def ceil_divided(index: Index, divisor: int) -> int | str:
    """How many groups of `divisor` cover a size."""
    if index.constant is not None:
        return -(-index.constant // divisor)
    return f"ceil_div({plan_expression(index)}, {divisor})"


def _atom(atom: Atom) -> str:
    if isinstance(atom, Size):
        return atom.expression
    if isinstance(atom, Quotient | Remainder):
        symbol = "//" if isinstance(atom, Quotient) else "%"
        return f"({_operand(atom.numerator)} {symbol} {_operand(atom.divisor)})"
    raise UnsupportedError(f"not supported: a size that depends on {atom.key}")


def _operand(index: Index) -> str:
    text = str(plan_expression(index))
    return text if " " not in text else f"({text})"
