"""Finds out where in a kernel's grid an element of another tensor belongs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metalgen.proposers.builtin.division import divide
from metalgen.proposers.builtin.indexing import ONE, Atom, Axis, Index, Quotient, Remainder, product


@dataclass(frozen=True)
class Split:
    """An axis replaced by a slower and a faster one: axis = slow * step + fast."""

    axis: Axis
    slow: Axis
    fast: Axis
    step: Index

    @property
    def value(self) -> Index:
        return Index.of(self.slow) * self.step + Index.of(self.fast)


def split_axes(indices: Sequence[Index]) -> list[Split]:
    """Splits after which no index divides a single axis by what divides its extent."""
    splits: list[Split] = []
    current = list(indices)
    while (found := _find_split(current)) is not None:
        splits.append(found)
        current = [index.replace({found.axis: found.value}) for index in current]
    return splits


def _find_split(indices: Iterable[Index]) -> Split | None:
    for index in indices:
        for atom in sorted(index.atoms(), key=lambda atom: atom.key):
            split = _split_for(atom)
            if split is not None:
                return split
    return None


def _split_for(atom: Atom) -> Split | None:
    if not isinstance(atom, Quotient | Remainder):
        return None
    terms = atom.numerator.terms
    if len(terms) != 1 or terms[0][1] != 1 or len(terms[0][0]) != 1:
        return None
    axis = terms[0][0][0]
    if not isinstance(axis, Axis):
        return None
    whole, rest = divide(axis.extent, atom.divisor)
    if rest != 0 or whole == 1:
        return None
    slow, fast = Axis(f"{axis.name}s", whole), Axis(f"{axis.name}f", atom.divisor)
    return Split(axis, slow, fast, atom.divisor)


def solve(position: Index, total: Index, place: Index) -> dict[Atom, Index] | None:
    """Values for the axes in `position` for which it equals `place`; None if it is not one each.

    `position` must number its axes as the digits of a number: each axis' factor is the product of
    the extents of the faster axes, and all extents multiply to `total`.
    """
    left: dict[Axis, Index] = {}
    for axis in position.axes():
        factor = position.coefficient(axis)
        if factor is None:
            return None
        left[axis] = factor
    if position != sum((Index.of(axis) * factor for axis, factor in left.items()), Index()):
        return None
    found: dict[Atom, Index] = {}
    step = ONE
    while left:
        digit = next((axis for axis, factor in left.items() if factor == step), None)
        if digit is None:
            return None
        del left[digit]
        slower = place // step
        step = step * digit.extent
        found[digit] = slower if step == total else slower % digit.extent
    return found if step == total else None


def extent_of(axes: Iterable[Axis]) -> Index:
    """How many places the axes have together."""
    return product(axis.extent for axis in axes)
