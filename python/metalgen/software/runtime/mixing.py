"""Scalar functions that mix the components of a vector: dot products, packing and unpacking."""

from __future__ import annotations

import re

from metalgen.software.runtime.conversion import conversion
from metalgen.software.runtime.ir import Code, Function, Type, Value, constant
from metalgen.software.runtime.rounding import narrow, widen

_DOT = re.compile(r"(?:fast_)?dot\.v([234])(f32|f16|bf16)")
_PACKING = re.compile(r"(un)?pack\.([us])norm(4x8|2x16)\.v([24])(f32|f16)")


def _dot(code: Code, arguments: list[Value], result: Type) -> Value:
    x, y = (widen(code, argument) for argument in arguments)
    total = constant(0, Type("f32"))
    for i in range(x.type.lanes):
        total = code.intrinsic("fmuladd", code.extract(x, i), code.extract(y, i), total)
    return narrow(code, total, result)


def _pack(code: Code, x: Value, sign: str, bits: int) -> Value:
    """Clamps to [0, 1] or [-1, 1], scales to the integer's range and rounds to nearest."""
    wide = widen(code, x)
    low, top = (-1, 2 ** (bits - 1) - 1) if sign == "s" else (0, 2**bits - 1)
    clamped = code.intrinsic("maxnum", wide, constant(low, wide.type))
    clamped = code.intrinsic("minnum", clamped, constant(1, wide.type))
    scaled = code.intrinsic("rint", code.binary("fmul", clamped, constant(top, wide.type)))
    integers = conversion("s", wide.type.of("i32"), "f", wide.type).emit(code, [scaled])
    assert integers is not None
    fields = code.cast("trunc", integers, wide.type.of(f"i{bits}"))
    return code.cast("bitcast", fields, Type("i32"))


def _unpack(code: Code, x: Value, sign: str, bits: int, result: Type) -> Value:
    fields = code.cast("bitcast", x, result.of(f"i{bits}"))
    wide = code.cast(f"{sign}itofp", fields, result.of("f32"))
    top = 2 ** (bits - 1) - 1 if sign == "s" else 2**bits - 1
    scaled = code.binary("fdiv", wide, constant(top, wide.type))
    if sign == "s":  # the most negative integer is -1 too
        scaled = code.intrinsic("maxnum", scaled, constant(-1, wide.type))
    return narrow(code, scaled, result)


def mixing_function(name: str) -> Function | None:
    """The function `air.name`, None if it is not one of these."""
    dot = _DOT.fullmatch(name)
    if dot is not None:
        vector = Type(dot[2], int(dot[1]))
        return Function((vector, vector), Type(dot[2]), lambda c, a: _dot(c, a, Type(dot[2])))
    packing = _PACKING.fullmatch(name)
    if packing is None or packing[3][0] != packing[4]:
        return None
    vector, sign = Type(packing[5], int(packing[4])), packing[2]
    bits = 32 // vector.lanes
    if packing[1]:
        return Function((Type("i32"),), vector, lambda c, a: _unpack(c, a[0], sign, bits, vector))
    return Function((vector,), Type("i32"), lambda c, a: _pack(c, a[0], sign, bits))
