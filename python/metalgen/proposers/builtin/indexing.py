"""Integer index arithmetic for kernels: polynomials over loop axes and dynamic sizes, with // and %.

An `Index` is what a kernel adds to a pointer. It is kept as a sum of products so that strides can be
read off it, and `//` and `%` vanish wherever the ranges of the axes prove that they may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """A size known at launch: `expression` is the launch plan's text for it, `hint` the example's value."""

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
    """A whole number read from memory (an embedding's row); `value` is the expression that reads it."""

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
        return divide(self, Index.of(other))[0]

    def __mod__(self, other: int | Index) -> Index:
        return divide(self, Index.of(other))[1]

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
        return recombine(total)

    def coefficient(self, axis: Axis) -> Index | None:
        """What multiplies `axis`, or None when the index is not linear in it."""
        kept = []
        for monomial, factor in self.terms:
            rest = tuple(atom for atom in monomial if atom != axis)
            if axis in _deep_axes(rest) or len(monomial) - len(rest) > 1:
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


def _deep_axes(monomial: Monomial) -> set[Axis]:
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
    if isinstance(atom, Quotient):
        return atom.numerator.hint // atom.divisor.hint
    if isinstance(atom, Remainder):
        return atom.numerator.hint % atom.divisor.hint
    return 0


def product(sizes: Iterable[Index]) -> Index:
    """All sizes multiplied."""
    return reduce(lambda total, size: total * size, sizes, ONE)


def flatten(index: Sequence[Index], shape: Sequence[Index]) -> Index:
    """The row-major position of `index` in a tensor of `shape`."""
    position = ZERO
    for coordinate, size in zip(index, shape, strict=True):
        position = position * size + coordinate
    return recombine(position)


def unflatten(position: Index, shape: Sequence[Index]) -> tuple[Index, ...]:
    """The coordinates of a row-major `position` in a tensor of `shape`."""
    coordinates: list[Index] = []
    for size in reversed(shape[1:]):
        position, coordinate = divide(position, size)
        coordinates.append(coordinate)
    if shape:
        coordinates.append(ZERO if shape[0] == 1 else position)
    return tuple(reversed(coordinates))


def is_at_least_zero(value: Index) -> bool:
    """Whether `value`, made of sizes alone, is proven to be zero or more."""
    if value.constant is not None:
        return value.constant >= 0

    def shifted(atom: Atom) -> Index | None:
        if isinstance(atom, Size):
            return Index.of(atom) + atom.least
        return Index.of(atom)

    total = ZERO
    for monomial, factor in value.terms:
        term = Index.of(factor)
        for atom in monomial:
            term = term * (shifted(atom) or Index.of(atom))
        total = total + term
    return all(factor >= 0 for _, factor in total.terms)


def is_less(value: Index, limit: Index) -> bool:
    """Whether `value` < `limit` is proven for every value of the axes."""
    most = upper_bound(value)
    return most is not None and is_at_least_zero(limit - 1 - most)


def is_never_negative(value: Index) -> bool:
    """Whether `value` >= 0 is proven for every value of the axes."""
    least = lower_bound(value)
    return least is not None and is_at_least_zero(least)


def upper_bound(value: Index) -> Index | None:
    """The largest value over all axes, as an index over sizes; None when unknown."""
    return _bound(value, largest=True)


def lower_bound(value: Index) -> Index | None:
    """The smallest value over all axes, as an index over sizes; None when unknown."""
    return _bound(value, largest=False)


def _bound(value: Index, *, largest: bool) -> Index | None:
    total = ZERO
    for monomial, factor in value.terms:
        term = Index.of(factor)
        for atom in monomial:
            limit = _most(atom) if (factor > 0) == largest else _least(atom)
            if limit is None:
                return None
            term = term * limit
        total = total + term
    return total


def _least(atom: Atom) -> Index | None:
    return Index.of(atom) if isinstance(atom, Size) or not _deep_axes((atom,)) else ZERO


def _most(atom: Atom) -> Index | None:
    if isinstance(atom, Axis):
        return atom.extent - 1
    if isinstance(atom, Fetched):
        return None
    if isinstance(atom, Size) or not _deep_axes((atom,)):
        return Index.of(atom)
    if isinstance(atom, Remainder):
        return atom.divisor - 1
    if isinstance(atom, Quotient):
        most = upper_bound(atom.numerator)
        return None if most is None else _divide_bound(most, atom.divisor)
    return None


def _divide_bound(value: Index, divisor: Index) -> Index | None:
    """floor(value / divisor) for a bound, where -1 // n is -1 (n sizes less one end in it)."""
    whole, rest = _split_multiples(value, divisor)
    if rest.constant is not None and rest.constant < 0 and is_at_least_zero(divisor + rest):
        return whole - 1
    if is_at_least_zero(rest) and is_at_least_zero(divisor - 1 - rest):
        return whole
    return whole + Index.of(Quotient(rest, divisor)) if is_at_least_zero(rest) else None


def _split_multiples(value: Index, divisor: Index) -> tuple[Index, Index]:
    """(whole, rest) with value = whole * divisor + rest, all plain multiples moved to `whole`."""
    if value == divisor:
        return ONE, ZERO
    if len(divisor.terms) != 1:
        return ZERO, value
    (atoms, factor) = divisor.terms[0]
    whole: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, coefficient in value.terms:
        left = _without(monomial, atoms)
        if left is None or (coefficient % factor and monomial):
            rest.append((monomial, coefficient))
            continue
        whole.append((left, coefficient // factor))
        rest.append((monomial, coefficient % factor))
    return Index.collect(whole), Index.collect(rest)


def _without(monomial: Monomial, atoms: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in atoms:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def divide(value: Index, divisor: Index) -> tuple[Index, Index]:
    """(value // divisor, value % divisor), simplified by the ranges of the axes in them."""
    if divisor == 1:
        return value, ZERO
    whole, rest = _split_multiples(value, divisor)
    if not is_never_negative(rest) and is_never_negative(rest + divisor):
        # Kernels divide unsigned numbers: nothing below zero may stay inside.
        whole, rest = whole - 1, rest + divisor
    if is_never_negative(rest) and is_less(rest, divisor):
        return whole, rest
    common = _common_factor(rest, divisor)
    if common is not None:
        large, small, factor = common
        quotient, remainder = divide(large, _split_multiples(divisor, factor)[0])
        return whole + quotient, remainder * factor + small
    return whole + _quotient(rest, divisor), _remainder(rest, divisor)


def _common_factor(rest: Index, divisor: Index) -> tuple[Index, Index, Index] | None:
    """(x, r, g) with rest = g * x + r, 0 <= r < g and g a factor of `divisor` other than 1."""
    if len(divisor.terms) != 1:
        return None
    atoms, number = divisor.terms[0]
    for candidate in _candidate_factors(rest, atoms, number):
        large, small = _split_multiples(rest, candidate)
        if large == ZERO or candidate == divisor:
            continue
        if is_never_negative(small) and is_less(small, candidate):
            return large, small, candidate
    return None


def _candidate_factors(rest: Index, atoms: Monomial, number: int) -> list[Index]:
    found: dict[str, Index] = {}
    for monomial, factor in rest.terms:
        shared = [atom for atom in monomial if atom in atoms]
        if not monomial:
            continue
        candidate = Index.collect([(tuple(shared), math.gcd(factor, number))])
        if candidate != 1:
            found[candidate.key] = candidate
    return list(found.values())


def _quotient(value: Index, divisor: Index) -> Index:
    """value // divisor when nothing more can be taken out, nested quotients joined."""
    if len(value.terms) == 1:
        monomial, factor = value.terms[0]
        if factor == 1 and len(monomial) == 1 and isinstance(monomial[0], Quotient):
            inner = monomial[0]
            return divide(inner.numerator, inner.divisor * divisor)[0]
    return Index.of(Quotient(value, divisor))


def _remainder(value: Index, divisor: Index) -> Index:
    if len(value.terms) == 1:
        monomial, factor = value.terms[0]
        if factor == 1 and len(monomial) == 1 and isinstance(monomial[0], Remainder):
            inner = monomial[0]
            if _split_multiples(inner.divisor, divisor)[1] == ZERO:
                return divide(inner.numerator, divisor)[1]
    return Index.of(Remainder(value, divisor))


def recombine(value: Index) -> Index:
    """`value` with d * (x // d) + x % d put together as x."""
    for monomial, factor in value.terms:
        for atom in monomial:
            if not isinstance(atom, Remainder):
                continue
            others = Index.collect([(_without(monomial, (atom,)) or (), factor)])
            high = (atom.numerator // atom.divisor) * atom.divisor * others
            if high != ZERO and all(term in value.terms for term in high.terms):
                low = others * Index.of(atom)
                return recombine(value - high - low + others * atom.numerator)
    return value
