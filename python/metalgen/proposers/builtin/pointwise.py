"""What each pointwise ATen operator computes, as an expression over its operands' elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from metalgen.proposers.builtin.expressions import (
    Apply,
    Constant,
    Expr,
    apply,
    convert,
    number,
)

# The type operands are converted to first: the result's, the widest among the operands, float,
# bool, or that of each operand as it is.
Domain = Literal["result", "promoted", "float", "bool", "own"]


@dataclass(frozen=True, slots=True)
class Rule:
    """An operator: its function on expressions and the type its operands are converted to."""

    function: Callable[..., Expr]
    domain: Domain = "result"


def _form(form: str, type_: str | None = None) -> Callable[..., Expr]:
    return lambda *values: apply(form, *values, type_=type_)


def _compare(form: str) -> Rule:
    return Rule(_form(form, "bool"), "promoted")


def _number_like(value: Expr, amount: float) -> Expr:
    return convert(number(amount), value.type)


def _is(value: Expr | None, amount: float) -> bool:
    return isinstance(value, Constant) and value.value == amount


def _scaled(value: Expr, alpha: float | int) -> Expr:
    return value if alpha == 1 else apply("mul", _number_like(value, alpha), value)


def _add(left: Expr, right: Expr, alpha: float | int = 1) -> Expr:
    if left.type == "bool":
        return apply("or", left, right)
    return apply("add", left, _scaled(right, alpha))


def _mul(left: Expr, right: Expr) -> Expr:
    if isinstance(right, Apply) and right.form == "sigmoid" and right.args[0] is left:
        return apply("silu", left)
    return apply("and" if left.type == "bool" else "mul", left, right)


def _div(left: Expr, right: Expr, rounding_mode: str | None = None) -> Expr:
    if rounding_mode == "floor":
        return apply("floor_divide", left, right)
    quotient = apply("div", left, right)
    if rounding_mode == "trunc" and left.type == "float":
        return apply("trunc", quotient)
    return quotient


def _clamp(value: Expr, least: Expr | None = None, most: Expr | None = None) -> Expr:
    if least is not None:
        value = apply("select", apply("lt", value, least, type_="bool"), least, value)
    if most is not None:
        value = apply("select", apply("gt", value, most, type_="bool"), most, value)
    return value


def _where_positive(value: Expr, positive: Expr, otherwise: Expr) -> Expr:
    return apply("select", apply("gt", value, number(0.0), type_="bool"), positive, otherwise)


def _elu(
    value: Expr,
    alpha: Expr = number(1.0),  # noqa: B008 (immutable)
    scale: Expr = number(1.0),  # noqa: B008
    input_scale: Expr = number(1.0),  # noqa: B008
) -> Expr:
    inner = value if _is(input_scale, 1) else apply("mul", value, input_scale)
    low = apply("mul", alpha, apply("expm1", inner))
    result = _where_positive(value, value, low)
    return result if _is(scale, 1) else apply("mul", scale, result)


def _gelu(value: Expr, approximate: str = "none") -> Expr:
    return apply("gelu_tanh" if approximate == "tanh" else "gelu", value)


def _power(base: Expr, exponent: Expr) -> Expr:
    if base.type != "float":
        return apply("power_int", base, exponent)
    if not isinstance(exponent, Constant):
        return apply("pow", base, exponent)
    return _known_power(base, float(exponent.value)) or apply("pow", base, exponent)


def _known_power(base: Expr, exponent: float) -> Expr | None:
    """Powers that cost less than pow()."""
    one = number(1.0)
    square = apply("mul", base, base)
    forms: dict[float, Callable[[], Expr]] = {
        0.0: lambda: one,
        1.0: lambda: base,
        2.0: lambda: square,
        3.0: lambda: apply("mul", square, base),
        4.0: lambda: apply("mul", square, square),
        0.5: lambda: apply("sqrt", base),
        -0.5: lambda: apply("rsqrt", base),
        -1.0: lambda: apply("div", one, base),
        -2.0: lambda: apply("div", one, square),
    }
    return forms[exponent]() if exponent in forms else None


def _where(condition: Expr, yes: Expr, no: Expr) -> Expr:
    wide = widest((yes, no))
    condition = convert(condition, "bool")
    return apply("select", condition, convert(yes, wide), convert(no, wide))


def _masked_fill(value: Expr, mask: Expr, fill: Expr) -> Expr:
    return _where(mask, convert(fill, value.type), value)


def _logit(value: Expr, eps: Expr | None = None) -> Expr:
    if eps is not None:
        value = _clamp(value, eps, apply("sub", number(1.0), eps))
    return apply("log", apply("div", value, apply("sub", number(1.0), value)))


def _abs(value: Expr) -> Expr:
    return apply("fabs" if value.type == "float" else "abs", value)


def _sub(left: Expr, right: Expr, alpha: float | int = 1) -> Expr:
    return apply("sub", left, _scaled(right, alpha))


def _softplus(
    value: Expr,
    beta: Expr = number(1.0),  # noqa: B008
    threshold: Expr = number(20.0),  # noqa: B008
) -> Expr:
    return apply("softplus", value, beta, threshold)


def _hardtanh(
    value: Expr,
    least: Expr = number(-1.0),  # noqa: B008
    most: Expr = number(1.0),  # noqa: B008
) -> Expr:
    return _clamp(value, convert(least, value.type), convert(most, value.type))


def _hard_sixth(value: Expr) -> Expr:
    """clamp(x + 3, 0, 6) / 6"""
    shifted = apply("add", value, number(3.0))
    return apply("div", _clamp(shifted, number(0.0), number(6.0)), number(6.0))


def _leaky_relu(value: Expr, slope: Expr = number(0.01)) -> Expr:  # noqa: B008
    return _where_positive(value, value, apply("mul", value, slope))


def _threshold(value: Expr, limit: Expr, otherwise: Expr) -> Expr:
    return apply("select", apply("le", value, limit, type_="bool"), otherwise, value)


def _lerp(start: Expr, end: Expr, weight: Expr) -> Expr:
    return apply("add", start, apply("mul", weight, apply("sub", end, start)))


def _addc(form: str) -> Callable[..., Expr]:
    def function(value: Expr, left: Expr, right: Expr, value_: float = 1) -> Expr:
        return apply("add", value, _scaled(apply(form, left, right), value_))

    return function


def _log_base(form: str, scale: float) -> Callable[[Expr], Expr]:
    return lambda value: apply("mul", apply(form, value), number(scale))


def _bitwise(on_bool: str, on_integers: str) -> Callable[..., Expr]:
    def function(*values: Expr) -> Expr:
        return apply(on_bool if values[0].type == "bool" else on_integers, *values)

    return function


def _gcd_safe_round(value: Expr, decimals: int = 0) -> Expr:
    if value.type != "float":
        return value
    if decimals == 0:
        return apply("rint", value)
    scale = number(math.pow(10.0, decimals))
    return apply("div", apply("rint", apply("mul", value, scale)), scale)


def _whole(form: str) -> Callable[[Expr], Expr]:
    """Rounding, which leaves integers alone."""
    return lambda value: apply(form, value) if value.type == "float" else value


def _nan_to_num(
    value: Expr, nan: Expr | None = None, posinf: Expr | None = None, neginf: Expr | None = None
) -> Expr:
    largest = number(3.4028234663852886e38)
    smallest = number(-3.4028234663852886e38)
    clamped = _clamp(value, number(-math.inf), number(math.inf))
    high = apply("eq", clamped, number(math.inf), type_="bool")
    low = apply("eq", clamped, number(-math.inf), type_="bool")
    value = apply(
        "select", high, posinf or largest, apply("select", low, neginf or smallest, value)
    )
    return apply("select", apply("isnan", clamped, type_="bool"), nan or number(0.0), value)


_RANK = {"bool": 0, "int": 1, "long": 2, "float": 3}


def widest(values: tuple[Expr, ...]) -> str:
    """The type that operands of different types meet in; literals never widen integers."""
    tensors = [value for value in values if not isinstance(value, Constant)] or list(values)
    wide = max((value.type for value in tensors), key=lambda type_: _RANK[type_])
    literals = max((value.type for value in values), key=lambda type_: _RANK[type_])
    return literals if literals == "float" or wide == "bool" else wide


_FLOAT_CALLS = (
    "exp exp2 log log2 log10 log1p expm1 sqrt rsqrt sin cos tan asin acos atan sinh cosh asinh"
    " acosh atanh tanh erf erfc erfinv sigmoid silu atan2"
).split()

RULES: dict[str, Rule] = {
    **{name: Rule(_form(name), "float") for name in _FLOAT_CALLS},
    "add": Rule(_add),
    "sub": Rule(_sub),
    "rsub": Rule(lambda left, right, alpha=1: _sub(right, left, alpha)),
    "mul": Rule(_mul),
    "div": Rule(_div),
    "true_divide": Rule(_div),
    "floor_divide": Rule(_form("floor_divide")),
    "remainder": Rule(_form("remainder")),
    "fmod": Rule(lambda a, b: apply("fmod" if a.type == "float" else "mod", a, b)),
    "neg": Rule(_form("neg")),
    "abs": Rule(_abs),
    "reciprocal": Rule(lambda value: apply("div", number(1.0), value), "float"),
    "square": Rule(lambda value: apply("mul", value, value)),
    "pow": Rule(_power),
    "sign": Rule(_form("sign")),
    "sgn": Rule(_form("sign")),
    "floor": Rule(_whole("floor")),
    "ceil": Rule(_whole("ceil")),
    "trunc": Rule(_whole("trunc")),
    "round": Rule(_gcd_safe_round),
    "frac": Rule(lambda value: apply("sub", value, apply("trunc", value))),
    "maximum": Rule(_form("maximum")),
    "minimum": Rule(_form("minimum")),
    "fmax": Rule(_form("max")),
    "fmin": Rule(_form("min")),
    "clamp": Rule(_clamp),
    "clamp_min": Rule(lambda value, least: _clamp(value, least)),
    "clamp_max": Rule(lambda value, most: _clamp(value, None, most)),
    "relu": Rule(_form("relu")),
    "relu6": Rule(lambda value: _clamp(value, _number_like(value, 0), _number_like(value, 6))),
    "leaky_relu": Rule(_leaky_relu),
    "prelu": Rule(_leaky_relu),
    "elu": Rule(_elu),
    "celu": Rule(
        lambda value, alpha: _where_positive(
            value, value, apply("mul", alpha, apply("expm1", apply("div", value, alpha)))
        )
    ),
    "gelu": Rule(_gelu),
    "softplus": Rule(_softplus),
    "mish": Rule(lambda x: apply("mul", x, apply("tanh", _softplus(x)))),
    "hardtanh": Rule(_hardtanh),
    "hardswish": Rule(lambda value: apply("mul", value, _hard_sixth(value))),
    "hardsigmoid": Rule(_hard_sixth),
    "threshold": Rule(_threshold),
    "logit": Rule(_logit),
    "lerp": Rule(_lerp),
    "addcmul": Rule(_addc("mul")),
    "addcdiv": Rule(_addc("div")),
    "where": Rule(_where, "own"),
    "masked_fill": Rule(_masked_fill, "own"),
    "nan_to_num": Rule(_nan_to_num),
    "isnan": Rule(_form("isnan", "bool"), "float"),
    "isinf": Rule(_form("isinf", "bool"), "float"),
    "logical_not": Rule(_form("not"), "bool"),
    "logical_and": Rule(_form("and"), "bool"),
    "logical_or": Rule(_form("or"), "bool"),
    "logical_xor": Rule(_form("ne"), "bool"),
    "bitwise_not": Rule(_bitwise("not", "bit_not")),
    "bitwise_and": Rule(_bitwise("and", "bit_and")),
    "bitwise_or": Rule(_bitwise("or", "bit_or")),
    "bitwise_xor": Rule(_bitwise("ne", "bit_xor")),
    "bitwise_left_shift": Rule(_form("shift_left")),
    "bitwise_right_shift": Rule(_form("shift_right")),
    **{name: _compare(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "deg2rad": Rule(lambda value: apply("mul", value, number(math.pi / 180)), "float"),
}
