"""Between f32, in which the runtime computes, and the 16-bit floating-point types."""

from __future__ import annotations

from metalgen.software.runtime.ir import Code, Type, Value, constant


def widen(code: Code, x: Value) -> Value:
    """f16 and bf16 as f32, anything else as it is."""
    return code.cast("fpext", x, x.type.of("f32")) if x.type.element in ("f16", "bf16") else x


def narrow(code: Code, x: Value, to: Type) -> Value:
    """f32 rounded to nearest, ties to even, in `to`'s element type."""
    return _narrow_to_bf16(code, x) if to.element == "bf16" else code.cast("fptrunc", x, to)


def _narrow_to_bf16(code: Code, x: Value) -> Value:
    """On the bit pattern: as fptrunc it is a call for each lane on hosts without AVX512-BF16.

    Where there is the instruction, it would flush denormals.
    """
    pattern = code.cast("bitcast", x, x.type.of("i32"))
    upper = code.binary("lshr", pattern, constant(16, pattern.type))
    is_odd = code.binary("and", upper, constant(1, pattern.type))
    below_half = code.binary("add", is_odd, constant(0x7FFF, pattern.type))
    rounded = code.binary("add", pattern, below_half)
    rounded = code.binary("lshr", rounded, constant(16, pattern.type))
    quiet_nan = code.binary("or", upper, constant(0x40, pattern.type))
    chosen = code.select(code.compare("fcmp uno", x, x), quiet_nan, rounded)
    return code.cast("bitcast", code.cast("trunc", chosen, x.type.of("i16")), x.type.of("bf16"))
