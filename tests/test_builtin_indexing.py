"""Index arithmetic: whatever is simplified keeps its value for every place of every axis."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from metalgen.proposers.builtin.division import flatten, is_less, is_never_negative, unflatten
from metalgen.proposers.builtin.indexing import (
    Atom,
    Axis,
    Index,
    Quotient,
    Remainder,
    Size,
)
from metalgen.proposers.builtin.solve import solve, split_axes

extents = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def axes_of(shape: list[int]) -> list[Axis]:
    return [Axis(f"a{i}", Index.of(size)) for i, size in enumerate(shape)]


def value_of(index: Index, values: dict[str, int]) -> int:
    """The index in plain numbers."""
    total = 0
    for monomial, factor in index.terms:
        product = factor
        for atom in monomial:
            product *= atom_value(atom, values)
        total += product
    return total


def atom_value(atom: Atom, values: dict[str, int]) -> int:
    if isinstance(atom, Quotient):
        above = value_of(atom.numerator, values)
        assert above >= 0, "kernels divide unsigned numbers"
        return above // value_of(atom.divisor, values)
    if isinstance(atom, Remainder):
        above = value_of(atom.numerator, values)
        assert above >= 0, "kernels divide unsigned numbers"
        return above % value_of(atom.divisor, values)
    assert isinstance(atom, Axis | Size)
    return values[atom.name]


def places(shape: list[int]) -> list[dict[str, int]]:
    ranges = [range(size) for size in shape]
    return [{f"a{i}": at for i, at in enumerate(place)} for place in itertools.product(*ranges)]


@given(extents, st.data())
def test_division_keeps_its_value_at_every_place(shape, data):
    axes = axes_of(shape)
    factors = [data.draw(st.integers(0, 12)) for _ in axes]
    index = Index.of(data.draw(st.integers(0, 9)))
    for axis, factor in zip(axes, factors, strict=True):
        index = index + Index.of(axis) * factor
    divisor = data.draw(st.integers(1, 12))
    quotient, remainder = index // divisor, index % divisor
    for values in places(shape):
        expected = divmod(value_of(index, values), divisor)
        assert (value_of(quotient, values), value_of(remainder, values)) == expected


@given(extents, extents)
def test_a_position_taken_apart_and_put_together_is_the_same(shape, other):
    axes = axes_of(shape)
    sizes = [Index.of(size) for size in (10**4, *other)]
    position = flatten([Index.of(axis) for axis in axes], [Index.of(size) for size in shape])
    again = flatten(unflatten(position, sizes), sizes)
    for values in places(shape):
        assert value_of(again, values) == value_of(position, values)


@given(extents, st.integers(-5, 60))
def test_a_bound_that_is_proven_holds(shape, limit):
    index = sum((Index.of(axis) * (i + 1) for i, axis in enumerate(axes_of(shape))), Index())
    index = index - 2
    values = [value_of(index, place) for place in places(shape)]
    assert not is_less(index, Index.of(limit)) or max(values) < limit
    assert not is_never_negative(index) or min(values) >= 0


def test_group_normalisation_s_channels_need_no_division():
    groups, channels, space = Index.of(4), Index.of(8), Index.of(Size("s", "x.shape[2]", 9))
    group = Index.of(Axis("group", groups))
    channel = Index.of(Axis("channel", channels))
    place = Index.of(Axis("place", space))
    position = flatten((group, channel, place), (groups, channels, space))
    assert unflatten(position, (groups * channels, space)) == (group * 8 + channel, place)
    assert unflatten(position // space, (groups, channels)) == (group, channel)


def test_dynamic_sizes_cancel():
    rows, length = Index.of(Size("b", "x.shape[0]", 4)), Index.of(Size("t", "x.shape[1]", 7))
    row, at = Index.of(Axis("row", rows)), Index.of(Axis("at", length))
    assert (row * length + at) // length == row
    assert (row * length + at) % length == at


def test_nothing_below_zero_is_divided():
    size = Index.of(Size("n", "x.shape[0]", 6, least=2))
    assert (size - 2) % size == size - 2
    assert (size * 2 - 2) // size == 1


def test_split_axes_leave_no_division():
    axis = Axis("c", Index.of(24))
    head, within = Index.of(axis) // 6, Index.of(axis) % 6
    (split,) = split_axes([head, within])
    assert head.replace({axis: split.value}) == Index.of(split.slow)
    assert within.replace({axis: split.value}) == Index.of(split.fast)


def test_a_transposed_reading_is_solved_for_its_axes():
    row, column = Axis("r", Index.of(3)), Axis("c", Index.of(5))
    place = Index.of(Axis("p", Index.of(15)))
    found = solve(Index.of(column) * 3 + Index.of(row), Index.of(15), place)
    assert found == {row: place % 3, column: place // 3}


def test_a_reading_that_repeats_elements_is_not_solved():
    row, column = Axis("r", Index.of(3)), Axis("c", Index.of(5))
    place = Index.of(Axis("p", Index.of(15)))
    assert solve(Index.of(column) + Index.of(row), Index.of(15), place) is None
    assert solve(Index.of(column), Index.of(15), place) is None
