"""SIMD-group functions of the runtime against a NumPy model, for any mask of active lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_harness import DTYPES, call, from_bf16, to_bf16

from metalgen.software.runtime import SIMDGROUP_FUNCTIONS
from metalgen.software.runtime.names import resolve

LANES = np.arange(32)
INTEGERS = [f"{sign}.{width}" for sign in "su" for width in ("i8", "i16", "i32", "i64")]
FLOATS = ["f32", "f16", "bf16"]
GROUPS = {"simd": 32, "quad": 4}

masks = st.one_of(st.integers(1, 2**32 - 1), st.sampled_from([2**32 - 1, 1, 1 << 31, 0x0000FFFF]))
seeds = st.integers(0, 2**32 - 1)


def sample(type_name: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    element = type_name.split(".")[-1]
    if element in ("f32", "f16", "bf16"):
        # Small integers: sums and products of them are exact, so that the order does not matter.
        values = rng.integers(-3, 4, 32).astype(np.float32)
        return to_bf16(values) if element == "bf16" else values.astype(DTYPES[element])
    dtype = DTYPES[element]
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, 32, dtype=dtype, endpoint=True)


def as_numbers(values: np.ndarray, type_name: str) -> np.ndarray:
    """Lanes as the type means them."""
    if type_name == "bf16":
        return from_bf16(values)
    if type_name.startswith("u."):
        return values.view(f"u{values.dtype.itemsize}")
    return values


def as_lanes(values: np.ndarray, type_name: str) -> np.ndarray:
    if type_name == "bf16":
        return to_bf16(values)
    return np.asarray(values).astype(DTYPES[type_name.split(".")[-1]])


def active_lanes(mask: int) -> np.ndarray:
    return (mask >> LANES & 1).astype(bool)


def fold(name: str, values: np.ndarray) -> np.generic:
    operations = {
        "sum": np.add,
        "product": np.multiply,
        "min": np.minimum,
        "max": np.maximum,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }
    with np.errstate(over="ignore"):
        return operations[name].reduce(values, dtype=values.dtype)


REDUCTIONS = [
    (group, name, type_name)
    for group in GROUPS
    for name in ("sum", "product", "min", "max", "and", "or", "xor")
    for type_name in INTEGERS + (FLOATS if name in ("sum", "product", "min", "max") else [])
]


@pytest.mark.parametrize(("group", "name", "type_name"), REDUCTIONS)
def test_a_reduction_folds_the_active_lanes_of_its_group(group, name, type_name):
    @settings(max_examples=15, deadline=None)
    @given(mask=masks, seed=seeds)
    def check(mask, seed):
        values, active = sample(type_name, seed), active_lanes(mask)
        result = call(f"v32.air.{group}_{name}.{type_name}", values, mask)
        numbers = as_numbers(values, type_name)
        for start in range(0, 32, GROUPS[group]):
            lanes = slice(start, start + GROUPS[group])
            if not active[lanes].any():
                continue
            expected = as_lanes(np.array([fold(name, numbers[lanes][active[lanes]])]), type_name)
            got = result if group == "simd" else result[lanes][active[lanes]]
            assert (as_numbers(got, type_name) == as_numbers(expected, type_name)).all()

    check()


@pytest.mark.parametrize("type_name", ["s.i32", "u.i8", "s.i16", "u.i64", "f32", "f16", "bf16"])
@pytest.mark.parametrize("name", ["sum", "product"])
@pytest.mark.parametrize("kind", ["inclusive", "exclusive"])
@pytest.mark.parametrize("group", GROUPS)
def test_a_scan_folds_the_active_lanes_up_to_or_below_each_one(group, kind, name, type_name):
    @settings(max_examples=15, deadline=None)
    @given(mask=masks, seed=seeds)
    def check(mask, seed):
        values, active = sample(type_name, seed), active_lanes(mask)
        if name == "product" and type_name in FLOATS:  # keep products of 32 within f16
            values = as_lanes(np.sign(as_numbers(values, type_name)), type_name)
        result = call(f"v32.air.{group}_prefix_{kind}_{name}.{type_name}", values, mask)
        numbers = as_numbers(values, type_name)
        for lane in LANES[active]:
            start = lane - lane % GROUPS[group]
            end = lane + 1 if kind == "inclusive" else lane
            before = slice(start, end)
            expected = fold(name, numbers[before][active[before]])
            expected = as_lanes(np.array([expected]), type_name)
            got = as_numbers(result[lane : lane + 1], type_name)
            assert got == as_numbers(expected, type_name)

    check()


def source_lane(kind: str, lane: int, operand: int, size: int) -> int:
    """The lane that a shuffle's `lane` reads; the ends of up and down read themselves."""
    start, within = lane - lane % size, lane % size
    moves = {
        "shuffle": operand % size,
        "broadcast": operand % size,
        "shuffle_xor": (within ^ operand) % size,
        "shuffle_rotate_up": (within - operand) % size,
        "shuffle_rotate_down": (within + operand) % size,
        "shuffle_up": within - operand if within >= operand else within,
        "shuffle_down": within + operand if within + operand < size else within,
    }
    return start + moves[kind]


@pytest.mark.parametrize("type_name", ["f32", "bf16", "u.i8", "s.i64"])
@pytest.mark.parametrize(
    "kind",
    [
        "shuffle",
        "broadcast",
        "shuffle_xor",
        "shuffle_up",
        "shuffle_down",
        "shuffle_rotate_up",
        "shuffle_rotate_down",
    ],
)
@pytest.mark.parametrize("group", GROUPS)
def test_a_shuffle_reads_the_lane_that_metal_names(group, kind, type_name):
    @settings(max_examples=10, deadline=None)
    @given(mask=masks, seed=seeds, lane_by_lane=st.booleans())
    def check(mask, seed, lane_by_lane):
        size = GROUPS[group]
        values = sample(type_name, seed)
        rng = np.random.default_rng(seed)
        operands = rng.integers(0, size, 32 if lane_by_lane else 1).repeat(
            1 if lane_by_lane else 32
        )
        result = call(
            f"v32.air.{group}_{kind}.{type_name}", values, operands.astype(np.int16), mask
        )
        given_out = np.where(active_lanes(mask), values, values.dtype.type(0))
        expected = [given_out[source_lane(kind, lane, int(operands[lane]), size)] for lane in LANES]
        assert (result == np.array(expected)).all()

    check()


@pytest.mark.parametrize("type_name", ["f32", "f16", "u.i8", "s.i64"])
@pytest.mark.parametrize("kind", ["up", "down"])
@pytest.mark.parametrize("group", GROUPS)
def test_a_filling_shuffle_takes_missing_lanes_from_the_filling(group, kind, type_name):
    @settings(max_examples=15, deadline=None)
    @given(seed=seeds, modulo_power=st.integers(1, 5), fraction=st.floats(0, 1))
    def check(seed, modulo_power, fraction):
        modulo = min(2**modulo_power, GROUPS[group])
        delta = int(fraction * modulo)
        values, filling = sample(type_name, seed), sample(type_name, seed + 1)
        result = call(
            f"v32.air.{group}_shuffle_and_fill_{kind}.{type_name}",
            values,
            filling,
            np.full(32, delta, np.int16),
            np.full(32, modulo, np.int16),
            -1,
        )
        for lane in LANES:
            start, within = lane - lane % modulo, lane % modulo
            moved = within - delta if kind == "up" else within + delta
            source = values if 0 <= moved < modulo else filling
            assert result[lane] == source[start + moved % modulo]

    check()


@given(mask=masks, predicate=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_votes_and_ballots_count_active_lanes_only(mask, predicate):
    met = mask & predicate
    assert call("v32.air.simd_any", predicate, mask)[0] == (met != 0)
    assert call("v32.air.simd_all", predicate, mask)[0] == (met == mask)
    assert call("v32.air.simd_ballot.i64", predicate, mask)[0] == met
    assert call("v32.air.simd_active_threads_mask.i64", mask)[0] == mask
    assert call("v32.air.simd_is_first", mask).view(np.uint32)[0] == mask & -mask


@given(mask=masks, predicate=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_quad_votes_and_ballots_stay_in_their_quad(mask, predicate):
    any_ = int(call("v32.air.quad_any", predicate, mask).view(np.uint32)[0])
    all_ = int(call("v32.air.quad_all", predicate, mask).view(np.uint32)[0])
    first = int(call("v32.air.quad_is_first", mask).view(np.uint32)[0])
    ballot = call("v32.air.quad_ballot.i64", predicate, mask)
    for lane in LANES[active_lanes(mask)]:
        quad = int(lane) & ~3
        active, met = mask >> quad & 15, (mask & predicate) >> quad & 15
        assert any_ >> int(lane) & 1 == (met != 0)
        assert all_ >> int(lane) & 1 == (met == active)
        assert ballot[lane] == met
        assert first >> int(lane) & 1 == (1 << int(lane) - quad == active & -active)


@pytest.mark.parametrize("type_name", ["f32", "bf16", "u.i16", "s.i64"])
@given(mask=masks, seed=seeds)
@settings(max_examples=20, deadline=None)
def test_broadcast_first_takes_the_lowest_active_lane(type_name, mask, seed):
    values = sample(type_name, seed)
    first = (mask & -mask).bit_length() - 1
    assert call(f"v32.air.simd_broadcast_first.{type_name}", values, mask)[0] == values[first]
    quads = call(f"v32.air.quad_broadcast_first.{type_name}", values, mask)
    for lane in LANES[active_lanes(mask)]:
        quad = int(lane) & ~3
        active = mask >> quad & 15
        assert quads[lane] == values[quad + (active & -active).bit_length() - 1]


def test_minimum_and_maximum_ignore_nan_and_inactive_infinities():
    values = np.arange(32, dtype=np.float32)
    values[3], values[4] = np.nan, -np.inf
    assert call("v32.air.simd_min.f32", values, 0xFFFFFFEF)[0] == 0
    assert call("v32.air.simd_max.f32", values, 0x18)[0] == -np.inf
    assert np.isnan(call("v32.air.simd_max.f32", values, 0x08)[0])


def test_a_half_sum_is_rounded_once():
    values = np.full(32, 2048, np.float16)
    values[1:] = 1
    assert call("v32.air.simd_sum.f16", values, -1)[0] == np.float16(2048 + 31)


def test_the_table_says_how_many_lanes_each_result_has():
    typed = "any all is_first ballot active_threads_mask".split()
    for name, shape in SIMDGROUP_FUNCTIONS.items():
        stem = name.split("_", 1)[1]
        suffix = {"ballot": ".i64", "active_threads_mask": ".i64"}.get(
            stem, "" if stem in typed else ".u.i32"
        )
        function = resolve(f"v32.{name}{suffix}")
        assert function is not None, name
        assert function.result is not None
        # One bit for each lane counts as 32 lanes.
        mask_of_lanes = stem == "is_first" or (
            name.startswith("air.quad") and stem in ("any", "all")
        )
        lanes = 32 if mask_of_lanes else function.result.lanes
        assert (lanes == 1) == (shape == "uniform"), name
