"""How each operation on scalars is written in MSL, how tightly it binds, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

TERNARY, OR, AND, BIT_OR, BIT_XOR, BIT_AND = 0, 1, 2, 3, 4, 5
EQUAL, LESS, SHIFT, ADD, MULTIPLY, UNARY, PRIMARY = 6, 7, 8, 9, 10, 11, 12


@dataclass(frozen=True, slots=True)
class Form:
    """MSL text with numbered places; `helper` names a function of templates/kernels/functions."""

    text: str
    binding: int = PRIMARY
    cost: int = 1
    helper: str | None = None


def _infix(symbol: str, binding: int, cost: int = 1) -> Form:
    return Form(f"{{0}} {symbol} {{1}}", binding, cost)


def _call(function: str, places: int = 1, cost: int = 4, helper: str | None = None) -> Form:
    return Form(
        f"{function}({', '.join(f'{{{i}}}' for i in range(places))})", cost=cost, helper=helper
    )


def _helper(function: str, places: int = 1, cost: int = 8) -> Form:
    return _call(function, places, cost, function)


# `guard` is a select whose branches may only be evaluated where the condition holds: they load
# from places that exist only then. `select` may evaluate both.
FORMS: dict[str, Form] = {
    "add": _infix("+", ADD),
    "sub": _infix("-", ADD),
    "mul": _infix("*", MULTIPLY),
    "div": _infix("/", MULTIPLY, 2),
    "mod": _infix("%", MULTIPLY, 2),
    "neg": Form("-{0}", UNARY),
    "not": Form("!{0}", UNARY),
    "bit_not": Form("~{0}", UNARY),
    "and": _infix("&&", AND),
    "or": _infix("||", OR),
    "bit_and": _infix("&", BIT_AND),
    "bit_or": _infix("|", BIT_OR),
    "bit_xor": _infix("^", BIT_XOR),
    "shift_left": _infix("<<", SHIFT),
    "shift_right": _infix(">>", SHIFT),
    "eq": _infix("==", EQUAL),
    "ne": _infix("!=", EQUAL),
    "lt": _infix("<", LESS),
    "le": _infix("<=", LESS),
    "gt": _infix(">", LESS),
    "ge": _infix(">=", LESS),
    "select": Form("{0} ? {1} : {2}", TERNARY),
    "guard": Form("{0} ? {1} : {2}", TERNARY),
    "to_float": _call("float", cost=0),
    "to_int": _call("int", cost=0),
    "to_long": _call("long", cost=0),
    "to_bool": Form("{0} != 0", EQUAL, 0),
    "round_half": Form("float(half({0}))", cost=0),
    "round_bfloat": Form("float(bfloat({0}))", cost=0),
    "wrap_short": Form("int(short({0}))", cost=0),
    "wrap_char": Form("int(char({0}))", cost=0),
    "wrap_uchar": Form("int(uchar({0}))", cost=0),
    "exp": _call("exp"),
    "exp2": _call("exp2"),
    "log": _call("log"),
    "log2": _call("log2"),
    "log10": _call("log10"),
    "sqrt": _call("sqrt", cost=2),
    "rsqrt": _call("rsqrt", cost=2),
    "sin": _call("sin"),
    "cos": _call("cos"),
    "tan": _call("tan"),
    "asin": _call("asin"),
    "acos": _call("acos"),
    "atan": _call("atan"),
    "sinh": _call("sinh"),
    "cosh": _call("cosh"),
    "asinh": _call("asinh"),
    "acosh": _call("acosh"),
    "atanh": _call("atanh"),
    # The fast form overflows to NaN where exp(2x) does.
    "tanh": _call("precise::tanh"),
    "atan2": _call("atan2", 2),
    "pow": _call("precise::pow", 2, 8),
    "floor": _call("floor", cost=1),
    "ceil": _call("ceil", cost=1),
    "trunc": _call("trunc", cost=1),
    "rint": _call("rint", cost=1),
    "fabs": _call("fabs", cost=1),
    "abs": _call("abs", cost=1),
    "fmod": _call("fmod", 2),
    "isnan": _call("isnan", cost=1),
    "isinf": _call("isinf", cost=1),
    "min": _call("min", 2, 1),
    "max": _call("max", 2, 1),
    "fma": _call("fma", 3, 1),
    "power_int": _helper("integer_power", 2),
    "relu": _helper("relu", cost=1),
    "sign": _helper("sign_of", cost=2),
    "maximum": _helper("maximum_or_nan", 2, 2),
    "minimum": _helper("minimum_or_nan", 2, 2),
    "remainder": _helper("floor_remainder", 2, 4),
    "floor_divide": _helper("floor_divide", 2, 4),
    "sigmoid": _helper("sigmoid", cost=5),
    "erf": _helper("error_function"),
    "erfc": _helper("complementary_error_function"),
    "erfinv": _helper("inverse_error_function"),
    "expm1": _helper("exp_minus_1"),
    "log1p": _helper("log_1_plus"),
    "softplus": _helper("softplus", 3),
    "gelu": _helper("gelu", cost=12),
    "gelu_tanh": _helper("gelu_tanh", cost=10),
    "silu": _helper("silu", cost=5),
}
