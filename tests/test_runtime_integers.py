"""Integer functions and conversions of the software device's runtime, in exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from runtime_harness import DTYPES, apply, from_bf16, to_bf16

from metalgen.software.runtime import defined

RNG = np.random.default_rng(3)
WIDTHS = [8, 16, 32, 64]
COUNT = 320


def limits(sign: str, width: int) -> tuple[int, int]:
    return (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if sign == "s" else (0, 2**width - 1)


def operands(sign: str, width: int, count: int) -> list[list[int]]:
    """Random numbers and all combinations of the extremes, as Python integers."""
    low, high = limits(sign, width)
    extremes = [low, low + 1, 0, 1, high // 2, high - 1, high]
    columns = np.array(np.meshgrid(*[np.arange(7)] * count)).reshape(count, -1)[:, :COUNT]
    return [
        [extremes[i] for i in column]
        + [
            int(
                RNG.integers(low, high, endpoint=True, dtype=np.uint64 if sign == "u" else np.int64)
            )
            for _ in range(COUNT)
        ]
        for column in columns
    ]


def pattern(values: list[int], width: int) -> np.ndarray:
    """The low bits of Python integers, as the runtime's signed arrays."""
    dtype = np.dtype(f"u{width // 8}")
    return np.array([value % 2**width for value in values], dtype).view(DTYPES[f"i{width}"])


def wrapped(value: int, sign: str, width: int) -> int:
    value %= 2**width
    return value - 2**width if sign == "s" and value >= 2 ** (width - 1) else value


def saturated(value: int, sign: str, width: int) -> int:
    low, high = limits(sign, width)
    return min(max(value, low), high)


# Results as exact integers, of which the low bits count.
FUNCTIONS = {
    "min": (2, lambda _s, _w, x, y: min(x, y)),
    "max": (2, lambda _s, _w, x, y: max(x, y)),
    "min3": (3, lambda _s, _w, x, y, z: min(x, y, z)),
    "max3": (3, lambda _s, _w, x, y, z: max(x, y, z)),
    "median3": (3, lambda _s, _w, x, y, z: sorted((x, y, z))[1]),
    "abs": (1, lambda _s, _w, x: abs(x)),
    "abs_diff": (2, lambda _s, _w, x, y: abs(x - y)),
    "add_sat": (2, lambda s, w, x, y: saturated(x + y, s, w)),
    "sub_sat": (2, lambda s, w, x, y: saturated(x - y, s, w)),
    "hadd": (2, lambda _s, _w, x, y: (x + y) >> 1),
    "rhadd": (2, lambda _s, _w, x, y: (x + y + 1) >> 1),
    "mul_hi": (2, lambda _s, w, x, y: x * y >> w),
    "mad_hi": (3, lambda _s, w, x, y, z: (x * y >> w) + z),
    "mad_sat": (3, lambda s, w, x, y, z: saturated(x * y + z, s, w)),
}
UNSIGNED_FUNCTIONS = {
    "clz": (1, lambda w, x: w - x.bit_length()),
    "ctz": (1, lambda w, x: (x & -x).bit_length() - 1 if x else w),
    "popcount": (1, lambda _w, x: x.bit_count()),
    "reverse_bits": (1, lambda w, x: int(f"{x:0{w}b}"[::-1], 2)),
    "rotate": (2, lambda w, x, y: x << y % w | x >> (w - y % w) % w if y % w else x),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("sign", ["s", "u"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_integer_function_is_exact(name, sign, width):
    count, reference = FUNCTIONS[name]
    columns = operands(sign, width, count)
    arrays = [pattern(column, width) for column in columns]
    expected = [reference(sign, width, *row) for row in zip(*columns, strict=True)]
    for wide in (True, False):
        result = apply(f"air.{name}.{sign}.i{width}", *arrays, wide=wide)
        assert (result == pattern(expected, width)).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", UNSIGNED_FUNCTIONS)
def test_a_bit_function_is_exact(name, width):
    count, reference = UNSIGNED_FUNCTIONS[name]
    columns = operands("u", width, count)
    expected = [reference(width, *row) for row in zip(*columns, strict=True)]
    result = apply(f"air.{name}.i{width}", *(pattern(column, width) for column in columns))
    assert (result == pattern(expected, width)).all()


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("sign", ["s", "u"])
def test_bit_fields_are_taken_out_and_put_in(sign, width):
    columns = operands(sign, width, 2)
    offsets = RNG.integers(0, width, len(columns[0])).astype(np.int32)
    counts = np.array(
        [RNG.integers(0, width - offset, endpoint=True) for offset in offsets], np.int32
    )
    x, y = (pattern(column, width) for column in columns)
    extracted = apply(f"air.extract_bits.{sign}.i{width}", x, offsets, counts)
    inserted = apply(f"air.insert_bits.{sign}.i{width}", x, y, offsets, counts)
    for i, (offset, count) in enumerate(zip(offsets.tolist(), counts.tolist(), strict=True)):
        mask = 2**count - 1
        field = columns[0][i] >> offset & mask
        if sign == "s" and count and field >> (count - 1):
            field -= 2**count
        assert wrapped(int(extracted[i]), sign, width) == field
        base, new = columns[0][i] % 2**width, columns[1][i] % 2**width
        expected = base & ~(mask << offset) | (new & mask) << offset
        assert int(inserted[i]) % 2**width == expected


@pytest.mark.parametrize("sign", ["s", "u"])
def test_24_bit_products_ignore_the_upper_bits(sign):
    columns = operands(sign, 32, 2)
    low = [[wrapped(value, sign, 24) for value in column] for column in columns]
    expected = pattern([x * y for x, y in zip(*low, strict=True)], 32)
    result = apply(f"air.mul24.{sign}.i32", *(pattern(column, 32) for column in columns))
    assert (result == expected).all()


FLOATS = {"f32": 24, "f16": 11, "bf16": 8}
INTEGERS = [(sign, width) for sign in "su" for width in WIDTHS]


def floats(element: str) -> tuple[np.ndarray, np.ndarray]:
    """Every 16-bit pattern, or random f32, and its value in float64."""
    if element == "f32":
        values = RNG.integers(0, 2**32, 50_000, dtype=np.uint32).view(np.float32)
        scaled = RNG.uniform(-300, 300, 5000).astype(np.float32)
        values = np.concatenate(
            [values, scaled, np.array([np.inf, -np.inf, np.nan, 0.5], np.float32)]
        )
        return values, values.astype(np.float64)
    patterns = np.arange(2**16, dtype=np.uint16)
    if element == "bf16":
        return patterns, from_bf16(patterns).astype(np.float64)
    return patterns.view(np.float16), patterns.view(np.float16).astype(np.float64)


@pytest.fixture(autouse=True)
def _overflow_is_no_error():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize(("sign", "width"), INTEGERS)
@pytest.mark.parametrize("element", FLOATS)
def test_a_float_becomes_the_nearest_integer_towards_zero(element, sign, width):
    values, exact = floats(element)
    low, high = limits(sign, width)
    expected = [
        0 if np.isnan(x) else low if x < low else high if x >= high + 1 else int(x) for x in exact
    ]
    name = f"air.convert.{sign}.i{width}.f.{element}"
    for wide in (True, False):
        assert (apply(name, values, wide=wide) == pattern(expected, width)).all()


def nearest(value: int, precision: int) -> float:
    """`value` rounded to `precision` bits, ties to even, in exact arithmetic."""
    extra = max(abs(value).bit_length() - precision, 0)
    quotient, rest = divmod(abs(value), 2**extra)
    half = 2**extra
    up = 2 * rest > half or (2 * rest == half and quotient % 2 == 1)
    return float((quotient + up) * 2**extra) * (-1 if value < 0 else 1)


@pytest.mark.parametrize(("sign", "width"), INTEGERS)
@pytest.mark.parametrize("element", FLOATS)
def test_an_integer_becomes_the_nearest_float(element, sign, width):
    (values,) = operands(sign, width, 1)
    # Just beside ties between bf16 numbers, where rounding twice goes wrong.
    values += [
        saturated((2 * k + 1) * 2**shift + beside, sign, width)
        for k in range(128, 140)
        for shift in range(max(width - 9, 0))
        for beside in (-1, 0, 1)
    ]
    expected = np.array([nearest(value, FLOATS[element]) for value in values])
    if element == "f16":
        expected = np.where(np.abs(expected) >= 65520, np.copysign(np.inf, expected), expected)
    result = apply(f"air.convert.f.{element}.{sign}.i{width}", pattern(values, width))
    result = from_bf16(result) if element == "bf16" else result
    assert (result.astype(np.float64) == expected).all()


def test_floats_convert_among_themselves_with_one_rounding():
    wide, exact = floats("f32")
    assert np.array_equal(
        apply("air.convert.f.f16.f.f32", wide), wide.astype(np.float16), equal_nan=True
    )
    rounded = apply("air.convert.f.bf16.f.f32", wide)
    assert (np.isnan(from_bf16(rounded)) == np.isnan(wide)).all()
    number = ~np.isnan(wide)
    assert (rounded[number] == to_bf16(wide)[number]).all()
    halves, exact = floats("f16")
    assert np.array_equal(
        apply("air.convert.f.f32.f.f16", halves), exact.astype(np.float32), equal_nan=True
    )
    from_half = from_bf16(apply("air.convert.f.bf16.f.f16", halves))
    assert np.array_equal(from_half, from_bf16(to_bf16(exact.astype(np.float32))), equal_nan=True)
    brains, exact = floats("bf16")
    assert np.array_equal(
        apply("air.convert.f.f16.f.bf16", brains), exact.astype(np.float16), equal_nan=True
    )


@pytest.mark.parametrize("source", ["f.f32", "f.f16", "s.i8", "u.i32", "s.i64"])
def test_a_conversion_to_bool_asks_for_not_zero(source):
    dtype = DTYPES[source.split(".")[1]]
    values = np.array([0, 1, 2, 100], dtype)
    if source.startswith("f"):
        values = np.array([0.0, -0.0, 0.25, np.nan], dtype)
    result = apply(f"air.convert.u.i1.{source}", values)
    assert (result == (values != 0)).all()


@pytest.mark.parametrize("to", ["f.f32", "f.f16", "s.i32", "u.i8"])
def test_true_converts_to_one(to):
    values = np.array([0, 1, 1, 0], np.uint8)
    assert (apply(f"air.convert.{to}.u.i1", values) == values).all()


@pytest.mark.parametrize("source", ["s.i8", "u.i8", "s.i64"])
@pytest.mark.parametrize("to", ["s.i16", "u.i32", "s.i64", "u.i8"])
def test_integers_convert_as_in_c(source, to):
    sign, width = source.split(".")[0], int(source.split(".i")[1])
    to_width = int(to.split(".i")[1])
    (values,) = operands(sign, width, 1)
    result = apply(f"air.convert.{to}.{source}", pattern(values, width))
    assert (result == pattern(values, to_width)).all()


def test_the_predicate_of_a_function_constant_is_zero_or_one():
    values = np.array([0, 1, 2, -1], np.int8)
    result = apply("air.normalize_function_constant_predicate.i8", values)
    assert result.tolist() == [0, 1, 1, 1]


def test_names_that_mean_nothing_are_not_defined():
    for name in (
        "air.exp",
        "air.exp.i32",
        "air.min.s.f99",
        "air.convert.f.i32.s.i32",
        "exp.f32",
        "air.convert.f.f32",
    ):
        assert not defined(name), name
