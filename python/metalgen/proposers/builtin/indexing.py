"""Integer index arithmetic for kernels: polynomials over axes and sizes, with // and %.

An `Index` is what a kernel adds to a pointer. It is kept as a sum of products so that strides can
be read off it, and `//` and `%` vanish wherever the ranges of the axes prove that they may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

Monomial = tuple["Atom", ...]


@dataclass(frozen=True, eq=False, repr=False)
class Atom:
    """A factor of an index: every atom is a whole number that is never negative."""

    @property
    def key(self) -> str:
        """What tells this atom from others, and sorts it among them."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Atom) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.key


@dataclass(frozen=True, eq=False, repr=False)
class Size(Atom):
    """A size known at launch: the launch plan's `expression` for it, `hint` the example's value."""

    name: str
    expression: str
    hint: int
    least: int = 1

    @property
    def key(self) -> str:
        return f"s:{self.name}"


@dataclass(frozen=True, eq=False, repr=False)
class Axis(Atom):
    """A loop variable that runs from 0 to `extent` - 1; its name is unique in its kernel."""

    name: str
    extent: Index

    @property
    def key(self) -> str:
        return f"a:{self.name}"


@dataclass(frozen=True, eq=False, repr=False)
class Quotient(Atom):
    """numerator // divisor, which could not be simplified."""

    numerator: Index
    divisor: Index

    @cached_property
    def key(self) -> str:
        return f"q:({self.numerator.key})/({self.divisor.key})"


@dataclass(frozen=True, eq=False, repr=False)
class Remainder(Atom):
    """numerator % divisor, which could not be simplified."""

    numerator: Index
    divisor: Index

    @cached_property
    def key(self) -> str:
        return f"r:({self.numerator.key})%({self.divisor.key})"


@dataclass(frozen=True, eq=False, repr=False)
class Fetched(Atom):
    """A whole number read from memory (an embedding's row) by the expression `value`."""

    name: str
    value: Any

    @property
    def key(self) -> str:
        return f"f:{self.name}"


@dataclass(frozen=True, eq=False, repr=False)
class Index:
    """A sum of integer multiples of products of atoms; immutable, equal when the sums are equal."""

    terms: tuple[tuple[Monomial, int], ...] = field(default=())

    @staticmethod
    def of(value: int | Atom | Index) -> Index:
        if isinstance(value, Index):
            return value
        if isinstance(value, Atom):
            return Index((((value,), 1),))
        return Index((((), value),)) if value else ZERO

    @staticmethod
    def collect(terms: Iterable[tuple[Monomial, int]]) -> Index:
        """The sum of `terms`, like ones joined."""
        sums: dict[Monomial, int] = {}
        for monomial, factor in terms:
            sums[monomial] = sums.get(monomial, 0) + factor
        kept = [(monomial, factor) for monomial, factor in sums.items() if factor]
        return Index(tuple(sorted(kept, key=lambda term: [atom.key for atom in term[0]])))

    @cached_property
    def key(self) -> str:
        return "+".join(
            "*".join([str(factor), *(atom.key for atom in monomial)])
            for monomial, factor in self.terms
        )

    @property
    def constant(self) -> int | None:
        """The value, when no atom is in it."""
        if not self.terms:
            return 0
        return self.terms[0][1] if len(self.terms) == 1 and not self.terms[0][0] else None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.constant == other
        return isinstance(other, Index) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.key or "0"

    def __add__(self, other: int | Index) -> Index:
        return Index.collect((*self.terms, *Index.of(other).terms))

    def __mul__(self, other: int | Index) -> Index:
        return Index.collect(
            (tuple(sorted((*left, *right), key=lambda atom: atom.key)), a * b)
            for left, a in self.terms
            for right, b in Index.of(other).terms
        )

    def __sub__(self, other: int | Index) -> Index:
        return self + Index.of(other) * -1

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: int | Index) -> Index:
        return _divide(self, Index.of(other))[0]

    def __mod__(self, other: int | Index) -> Index:
        return _divide(self, Index.of(other))[1]

    def atoms(self) -> set[Atom]:
        """Every atom of the index, those inside quotients and remainders included."""
        found: set[Atom] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                found.add(atom)
                if isinstance(atom, Quotient | Remainder):
                    found |= atom.numerator.atoms() | atom.divisor.atoms()
        return found

    def axes(self) -> set[Axis]:
        return {atom for atom in self.atoms() if isinstance(atom, Axis)}

    def replace(self, values: Mapping[Atom, Index]) -> Index:
        """The index with atoms replaced, simplified again."""
        return self.rewrite(lambda atom: values.get(atom))

    def rewrite(self, change: Callable[[Atom], Index | None]) -> Index:
        """The index with `change(atom)` for every atom for which that is not None."""
        total = ZERO
        for monomial, factor in self.terms:
            product = Index.of(factor)
            for atom in monomial:
                product = product * _rewrite_atom(atom, change)
            total = total + product
        return _recombine(total)

    def coefficient(self, axis: Axis) -> Index | None:
        """What multiplies `axis`, or None when the index is not linear in it."""
        kept = []
        for monomial, factor in self.terms:
            rest = tuple(atom for atom in monomial if atom != axis)
            if axis in axes_of(rest) or len(monomial) - len(rest) > 1:
                return None
            if len(rest) != len(monomial):
                kept.append((rest, factor))
        return Index.collect(kept)

    @cached_property
    def hint(self) -> int:
        """The value for the example's sizes, axes at zero."""
        return sum(
            factor * math.prod(_atom_hint(atom) for atom in monomial)
            for monomial, factor in self.terms
        )


ZERO = Index()
ONE = Index((((), 1),))


def axes_of(monomial: Monomial) -> set[Axis]:
    """The axes in a product, those inside quotients and remainders included."""
    return reduce(lambda found, atom: found | Index.of(atom).axes(), monomial, set[Axis]())


def _rewrite_atom(atom: Atom, change: Callable[[Atom], Index | None]) -> Index:
    value = change(atom)
    if value is not None:
        return value
    if isinstance(atom, Quotient):
        return atom.numerator.rewrite(change) // atom.divisor.rewrite(change)
    if isinstance(atom, Remainder):
        return atom.numerator.rewrite(change) % atom.divisor.rewrite(change)
    return Index.of(atom)


def _atom_hint(atom: Atom) -> int:
    if isinstance(atom, Size):
        return atom.hint
    if isinstance(atom, Quotient | Remainder):
        # A quotient that divides may be 0 where the hints of its sizes are made up.
        above, below = atom.numerator.hint, max(1, atom.divisor.hint)
        return above // below if isinstance(atom, Quotient) else above % below
    return 0


def product(sizes: Iterable[Index]) -> Index:
    """All sizes multiplied."""
    return reduce(lambda total, size: total * size, sizes, ONE)


# Division is written in terms of indices and indices divide: the one file here that looks ahead.
def _divide(value: Index, divisor: Index) -> tuple[Index, Index]:
    from metalgen.proposers.builtin.division import divide

    return divide(value, divisor)


def _recombine(value: Index) -> Index:
    from metalgen.proposers.builtin.division import recombine

    return recombine(value)
