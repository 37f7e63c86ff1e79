"""Lane-wise conversions: `air.convert.KIND.TYPE.KIND.TYPE`, destination first.

A float outside the integer type's range becomes its nearest value and NaN becomes 0; Metal leaves
both undefined.
"""

from __future__ import annotations

from metalgen.software.runtime.ir import Code, Function, Type, Value, constant
from metalgen.software.runtime.rounding import narrow, widen


def _float_to_float(code: Code, x: Value, to: Type) -> Value:
    if x.type.element == to.element:
        return x
    # Between f16 and bf16, neither of which holds the other, by way of f32, which holds both.
    return narrow(code, widen(code, x), to) if to.bits == 16 else widen(code, x)


def _float_to_integer(code: Code, x: Value, kind: str, to: Type) -> Value:
    if to.element == "i1":
        return code.compare("fcmp une", x, constant(0, x.type))
    return _truncate(code, widen(code, x), kind, to)


def _truncate(code: Code, x: Value, kind: str, to: Type) -> Value:
    name = f"llvm.fpto{kind}i.sat.{to.suffix}.{x.type.suffix}"
    return code.let(f"call {to.ir} @{name}({x.type.ir} {x.text})", to)


def _integer_to_float(code: Code, x: Value, kind: str, to: Type) -> Value:
    single = code.cast(f"{kind}itofp", x, to.of("f32"))
    if to.element == "f32":
        return single
    # Integers that f32 rounds are infinite in f16.
    if to.element == "bf16" and x.type.bits >= 32:
        single = _away_from_false_tie(code, single, x, kind)
    return narrow(code, single, to)


def _away_from_false_tie(code: Code, single: Value, x: Value, kind: str) -> Value:
    """Where rounding `x` to f32 led halfway between two bf16, a step back towards `x`.

    Otherwise it would be rounded twice.
    """
    pattern = code.cast("bitcast", single, single.type.of("i32"))
    tail = code.binary("and", pattern, constant(0xFFFF, pattern.type))
    tie = code.compare("icmp eq", tail, constant(0x8000, pattern.type))
    back = _truncate(code, single, kind, x.type)
    above = code.cast("zext", code.compare(f"icmp {kind}gt", x, back), pattern.type)
    below = code.cast("zext", code.compare(f"icmp {kind}lt", x, back), pattern.type)
    upwards = code.binary("sub", above, below)
    if kind == "s":  # a negative float's pattern grows downwards
        negative = code.compare("icmp slt", pattern, constant(0, pattern.type))
        upwards = code.select(negative, code.binary("sub", below, above), upwards)
    step = code.select(tie, upwards, constant(0, pattern.type))
    return code.cast("bitcast", code.binary("add", pattern, step), single.type)


def _integer_to_integer(code: Code, x: Value, kind: str, to: Type) -> Value:
    if to.element == "i1":
        return code.compare("icmp ne", x, constant(0, x.type))
    if to.bits == x.type.bits:
        return x
    extend = "sext" if kind == "s" else "zext"
    return code.cast(extend if to.bits > x.type.bits else "trunc", x, to)


def conversion(to_kind: str, to: Type, from_kind: str, source: Type) -> Function:
    """Kinds are f, s and u; `source` and `to` have as many lanes."""

    def emit(code: Code, arguments: list[Value]) -> Value:
        (x,) = arguments
        if from_kind == "f":
            return (
                _float_to_float(code, x, to)
                if to_kind == "f"
                else _float_to_integer(code, x, to_kind, to)
            )
        if to_kind == "f":
            return _integer_to_float(code, x, from_kind, to)
        return _integer_to_integer(code, x, from_kind, to)

    return Function((source,), to, emit)
