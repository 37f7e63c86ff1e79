"""Lane-wise integer functions: `air.NAME[.s|.u].TYPE`."""

from __future__ import annotations

from collections.abc import Callable

from metalgen.software.runtime.ir import Code, Function, Type, Value, constant

# Called with the signedness, "s" or "u", which some names leave out because it does not matter to
# them.
Body = Callable[..., Value]


def _signed(name: str) -> Body:
    return lambda code, sign, *arguments: code.intrinsic(sign + name, *arguments)


def _min3(code: Code, sign: str, x: Value, y: Value, z: Value) -> Value:
    return code.intrinsic(f"{sign}min", code.intrinsic(f"{sign}min", x, y), z)


def _max3(code: Code, sign: str, x: Value, y: Value, z: Value) -> Value:
    return code.intrinsic(f"{sign}max", code.intrinsic(f"{sign}max", x, y), z)


def _median3(code: Code, sign: str, x: Value, y: Value, z: Value) -> Value:
    low, high = code.intrinsic(f"{sign}min", x, y), code.intrinsic(f"{sign}max", x, y)
    return code.intrinsic(f"{sign}max", low, code.intrinsic(f"{sign}min", high, z))


def _clamp(code: Code, sign: str, x: Value, low: Value, high: Value) -> Value:
    return code.intrinsic(f"{sign}min", code.intrinsic(f"{sign}max", x, low), high)


def _abs(code: Code, sign: str, x: Value) -> Value:
    return code.intrinsic("abs", x, flag=", i1 false") if sign == "s" else x


def _absdiff(code: Code, sign: str, x: Value, y: Value) -> Value:
    larger, smaller = code.intrinsic(f"{sign}max", x, y), code.intrinsic(f"{sign}min", x, y)
    return code.binary("sub", larger, smaller)


def _half_sum(join: str, difference: str) -> Body:
    """Averages without overflow: x + y = 2 (x & y) + (x ^ y) = 2 (x | y) - (x ^ y)."""

    def body(code: Code, sign: str, x: Value, y: Value) -> Value:
        shift = "ashr" if sign == "s" else "lshr"
        half = code.binary(shift, code.binary("xor", x, y), constant(1, x.type))
        return code.binary(difference, code.binary(join, x, y), half)

    return body


def _mul_hi(code: Code, sign: str, x: Value, y: Value) -> Value:
    wide = x.type.of(f"i{2 * x.type.bits}")
    extend = "sext" if sign == "s" else "zext"
    product = code.binary("mul", code.cast(extend, x, wide), code.cast(extend, y, wide))
    return code.cast("trunc", code.binary("lshr", product, constant(x.type.bits, wide)), x.type)


def _mad_hi(code: Code, sign: str, x: Value, y: Value, z: Value) -> Value:
    return code.binary("add", _mul_hi(code, sign, x, y), z)


def _mad_sat(code: Code, sign: str, x: Value, y: Value, z: Value) -> Value:
    bits = x.type.bits
    wide = x.type.of(f"i{2 * bits + 1}")  # room for the sum too
    extend = "sext" if sign == "s" else "zext"
    product = code.binary("mul", code.cast(extend, x, wide), code.cast(extend, y, wide))
    total = code.binary("add", product, code.cast(extend, z, wide))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "s" else (0, 2**bits - 1)
    bounded = _clamp(code, sign, total, constant(low, wide), constant(high, wide))
    return code.cast("trunc", bounded, x.type)


def _twenty_four_bits(code: Code, sign: str, x: Value) -> Value:
    eight = constant(x.type.bits - 24, x.type)
    shift = "ashr" if sign == "s" else "lshr"
    return code.binary(shift, code.binary("shl", x, eight), eight)


def _mul24(code: Code, sign: str, x: Value, y: Value) -> Value:
    return code.binary("mul", _twenty_four_bits(code, sign, x), _twenty_four_bits(code, sign, y))


def _mad24(code: Code, sign: str, x: Value, y: Value, z: Value) -> Value:
    return code.binary("add", _mul24(code, sign, x, y), z)


def _rotate(code: Code, _sign: str, x: Value, amount: Value) -> Value:
    return code.intrinsic("fshl", x, x, amount)


def _count_zeros(name: str) -> Body:
    # Metal gives the width for zero, whatever the declaration's last parameter says of it.
    return lambda code, _sign, x: code.intrinsic(name, x, flag=", i1 false")


def _plain(name: str) -> Body:
    return lambda code, _sign, *arguments: code.intrinsic(name, *arguments)


def _count(code: Code, value: Value, x: Value) -> Value:
    """A bit offset or count as a value of x's type; widths beyond it are undefined in Metal."""
    return code.cast("zext" if value.type.bits < x.type.bits else "trunc", value, x.type)


def _low_ones(code: Code, bits: Value) -> Value:
    """2^bits - 1, all ones when `bits` is the width."""
    width = constant(bits.type.bits, bits.type)
    ones = constant(-1, bits.type)
    shift = code.intrinsic(
        "umin", code.binary("sub", width, bits), constant(bits.type.bits - 1, bits.type)
    )
    some = code.binary("lshr", ones, shift)
    return code.select(
        code.compare("icmp eq", bits, constant(0, bits.type)), constant(0, bits.type), some
    )


def _extract_bits(code: Code, sign: str, x: Value, offset: Value, bits: Value) -> Value:
    start, count = _count(code, offset, x), _count(code, bits, x)
    field = code.binary("and", code.binary("lshr", x, start), _low_ones(code, count))
    if sign == "u":
        return field
    sign_bit = code.binary(
        "xor",
        _low_ones(code, count),
        code.binary("lshr", _low_ones(code, count), constant(1, x.type)),
    )
    return code.binary("sub", code.binary("xor", field, sign_bit), sign_bit)


def _insert_bits(
    code: Code, _sign: str, base: Value, inserted: Value, offset: Value, bits: Value
) -> Value:
    start = _count(code, offset, base)
    mask = code.binary("shl", _low_ones(code, _count(code, bits, base)), start)
    kept = code.binary("and", base, code.binary("xor", mask, constant(-1, base.type)))
    return code.binary("or", kept, code.binary("and", code.binary("shl", inserted, start), mask))


# Parameters by letter: T the named type, i i32.
_FORMS: dict[str, tuple[str, Body]] = {
    "min": ("TT", _signed("min")),
    "max": ("TT", _signed("max")),
    "min3": ("TTT", _min3),
    "max3": ("TTT", _max3),
    "median3": ("TTT", _median3),
    "clamp": ("TTT", _clamp),
    "abs": ("T", _abs),
    "abs_diff": ("TT", _absdiff),
    "absdiff": ("TT", _absdiff),
    "add_sat": ("TT", _signed("add.sat")),
    "sub_sat": ("TT", _signed("sub.sat")),
    "hadd": ("TT", _half_sum("and", "add")),
    "rhadd": ("TT", _half_sum("or", "sub")),
    "mul_hi": ("TT", _mul_hi),
    "mad_hi": ("TTT", _mad_hi),
    "mad_sat": ("TTT", _mad_sat),
    "mul24": ("TT", _mul24),
    "mad24": ("TTT", _mad24),
    "rotate": ("TT", _rotate),
    "clz": ("T", _count_zeros("ctlz")),
    "ctz": ("T", _count_zeros("cttz")),
    "popcount": ("T", _plain("ctpop")),
    "reverse_bits": ("T", _plain("bitreverse")),
    "bswap": ("T", _plain("bswap")),
    "extract_bits": ("Tii", _extract_bits),
    "insert_bits": ("TTii", _insert_bits),
}


def integer_function(stem: str, sign: str, type_: Type) -> Function | None:
    """The function `air.stem.sign.type`, None if there is none of that name."""
    if stem not in _FORMS:
        return None
    letters, body = _FORMS[stem]
    types = {"T": type_, "i": type_.of("i32")}
    return Function(
        tuple(types[letter] for letter in letters),
        type_,
        lambda code, arguments: body(code, sign, *arguments),
    )
