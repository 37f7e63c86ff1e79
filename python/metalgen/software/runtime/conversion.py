"""Lane-wise conversions: `air.convert.KIND.TYPE.KIND.TYPE`, destination first.

A float outside the integer type's range becomes its nearest value and NaN becomes 0; Metal leaves both undefined.
"""

from __future__ import annotations

from .ir import Code, Function, Type, Value, constant


def _float_to_float(code: Code, x: Value, to: Type) -> Value:
    if x.type.element == to.element:
        return x
    # Between f16 and bf16, neither of which holds the other, by way of f32, which holds both.
    wide = code.cast("fpext", x, x.type.of("f32")) if x.type.bits == 16 else x
    return code.cast("fptrunc", wide, to)


def _float_to_integer(code: Code, x: Value, kind: str, to: Type) -> Value:
    if to.element == "i1":
        return code.compare("fcmp une", x, constant(0, x.type))
    x = code.cast("fpext", x, x.type.of("f32")) if x.type.bits == 16 else x
    name = f"llvm.fpto{kind}i.sat.{to.suffix}.{x.type.suffix}"
    return code.let(f"call {to.ir} @{name}({x.type.ir} {x.text})", to)


def _integer_to_float(code: Code, x: Value, kind: str, to: Type) -> Value:
    opcode = f"{kind}itofp"
    if to.bits == 32:
        return code.cast(opcode, x, to)
    # f32 holds integers to 24 bits and f64 to 53, so that what follows is the only rounding. An i64 beyond f32's
    # exact range overflows f16 either way; for bf16 f64's rounding comes first, at 2^-45 of its unit.
    via = "f32" if x.type.bits <= 16 or to.element == "f16" else "f64"
    return code.cast("fptrunc", code.cast(opcode, x, x.type.of(via)), to)


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
