"""Division of indices: // and % simplified by what is known of the ranges of axes and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metalgen.proposers.builtin.indexing import (
    ONE,
    ZERO,
    Atom,
    Axis,
    Fetched,
    Index,
    Monomial,
    Quotient,
    Remainder,
    Size,
    axes_of,
)


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
    return Index.of(atom) if isinstance(atom, Size) or not axes_of((atom,)) else ZERO


def _most(atom: Atom) -> Index | None:
    if isinstance(atom, Axis):
        return atom.extent - 1
    if isinstance(atom, Fetched):
        return None
    if isinstance(atom, Size) or not axes_of((atom,)):
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
