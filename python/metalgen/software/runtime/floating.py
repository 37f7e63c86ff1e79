"""Lane-wise floating-point functions: `air.[fast_]NAME.TYPE`.

f16 and bf16 forms compute in f32 and round once, except those marked native, which touch no
fraction bits. fast_ forms are the precise ones, but for fast_rsqrt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan

from metalgen.software.runtime.ir import Code, Function, Type, Value, constant
from metalgen.software.runtime.rounding import narrow, widen

Body = Callable[..., Value]

# Functions of maths/*.cpp, by number of float parameters; NAME_1 is the scalar form and NAME_32
# the wide one.
_UNARY = """exp exp2 exp10 log log2 log10 sin cos tan sinpi cospi tanpi asin acos atan
            sinh cosh tanh asinh acosh atanh rsqrt fast_rsqrt""".split()
_BINARY = "pow powr atan2 fmod".split()


def call_maths(code: Code, name: str, result: str, *arguments: Value) -> Value:
    """Calls the scalar or the wide form; vectors of other widths go element by element."""
    lanes = arguments[0].type.lanes
    if lanes in (1, 32):
        return code.call(f"{name}_{lanes}", Type(result, lanes), *arguments)
    wide = Value("poison", Type(result, lanes))
    for lane in range(lanes):
        elements = [code.extract(argument, lane) for argument in arguments]
        wide = code.insert(wide, code.call(f"{name}_1", Type(result), *elements), lane)
    return wide


@dataclass(frozen=True, slots=True)
class _Form:
    """Parameters and result by letter: T the named type, i i32, b i1.

    `native` forms are not widened to f32.
    """

    parameters: str
    body: Body
    result: str = "T"
    native: bool = False


def _maths(name: str) -> Body:
    return lambda code, *arguments: call_maths(code, name, "f32", *arguments)


def _intrinsic(name: str) -> Body:
    return lambda code, *arguments: code.intrinsic(name, *arguments)


def _binary(opcode: str) -> Body:
    return lambda code, x, y: code.binary(opcode, x, y)


def _compare(predicate: str) -> Body:
    return lambda code, x, y: code.compare(f"fcmp {predicate}", x, y)


def _like(value: float, x: Value) -> Value:
    return constant(value, x.type)


def _clamp(code: Code, x: Value, low: Value, high: Value) -> Value:
    return code.intrinsic("minnum", code.intrinsic("maxnum", x, low), high)


def _saturate(code: Code, x: Value) -> Value:
    return _clamp(code, x, _like(0, x), _like(1, x))


def _sign(code: Code, x: Value) -> Value:
    zero = _like(0, x)
    signed_zero = code.select(code.compare("fcmp oeq", x, zero), x, zero)  # NaN gives zero
    negative = code.select(code.compare("fcmp olt", x, zero), _like(-1, x), signed_zero)
    return code.select(code.compare("fcmp ogt", x, zero), _like(1, x), negative)


def _mix(code: Code, x: Value, y: Value, amount: Value) -> Value:
    return code.intrinsic("fmuladd", code.binary("fsub", y, x), amount, x)


def _step(code: Code, edge: Value, x: Value) -> Value:
    return code.select(code.compare("fcmp olt", x, edge), _like(0, x), _like(1, x))


def _smoothstep(code: Code, low: Value, high: Value, x: Value) -> Value:
    t = code.binary("fdiv", code.binary("fsub", x, low), code.binary("fsub", high, low))
    t = _saturate(code, t)
    slope = code.intrinsic("fmuladd", t, _like(-2, t), _like(3, t))
    return code.binary("fmul", code.binary("fmul", t, t), slope)


def _fract(code: Code, x: Value) -> Value:
    below_one = {"f32": 1 - 2**-24, "f16": 1 - 2**-11, "bf16": 1 - 2**-8}[x.type.element]
    fraction = code.binary("fsub", x, code.intrinsic("floor", x))
    limited = code.compare("fcmp ogt", fraction, _like(below_one, x))
    return code.select(limited, _like(below_one, x), fraction)


def _fdim(code: Code, x: Value, y: Value) -> Value:
    return code.select(code.compare("fcmp ole", x, y), _like(0, x), code.binary("fsub", x, y))


def _fmin3(code: Code, x: Value, y: Value, z: Value) -> Value:
    return code.intrinsic("minnum", code.intrinsic("minnum", x, y), z)


def _fmax3(code: Code, x: Value, y: Value, z: Value) -> Value:
    return code.intrinsic("maxnum", code.intrinsic("maxnum", x, y), z)


def _fmedian3(code: Code, x: Value, y: Value, z: Value) -> Value:
    low, high = code.intrinsic("minnum", x, y), code.intrinsic("maxnum", x, y)
    return code.intrinsic("maxnum", low, code.intrinsic("minnum", high, z))


def _is_class(predicate: str, limit: float) -> Body:
    def body(code: Code, x: Value) -> Value:
        return code.compare(f"fcmp {predicate}", code.intrinsic("fabs", x), _like(limit, x))

    return body


def _isnan(code: Code, x: Value) -> Value:
    return code.compare("fcmp uno", x, x)


def _isnormal(code: Code, x: Value) -> Value:
    smallest = 2.0**-14 if x.type.element == "f16" else 2.0**-126
    magnitude = code.intrinsic("fabs", x)
    enough = code.compare("fcmp oge", magnitude, _like(smallest, x))
    return code.binary("and", enough, code.compare("fcmp olt", magnitude, _like(inf, x)))


def _pattern(code: Code, x: Value) -> Value:
    return code.cast("bitcast", x, x.type.of(f"i{x.type.bits}"))


def _signbit(code: Code, x: Value) -> Value:
    pattern = _pattern(code, x)
    return code.compare("icmp slt", pattern, constant(0, pattern.type))


def _nextafter(code: Code, x: Value, y: Value) -> Value:
    """Neighbouring floats have neighbouring patterns; zero's are the smallest denormals."""
    pattern = _pattern(code, x)
    integer = pattern.type
    one, zero = constant(1, integer), constant(0, x.type)
    upwards = code.compare("fcmp olt", x, y)
    positive = code.compare("fcmp ogt", x, zero)
    away = code.binary("xor", code.binary("xor", upwards, positive), constant(1, upwards.type))
    stepped = code.binary("add", pattern, code.select(away, one, constant(-1, integer)))
    top = constant(-(2 ** (integer.bits - 1)) + 1, integer)
    smallest = code.select(upwards, one, top)
    stepped = code.select(code.compare("fcmp oeq", x, zero), smallest, stepped)
    moved = code.select(code.compare("fcmp oeq", x, y), y, code.cast("bitcast", stepped, x.type))
    return code.select(code.compare("fcmp uno", x, y), constant(nan, x.type), moved)


def _ldexp(code: Code, x: Value, exponent: Value) -> Value:
    return call_maths(code, "ldexp", "f32", x, exponent)


def _ilogb(code: Code, x: Value) -> Value:
    return call_maths(code, "ilogb", "i32", x)


_FORMS: dict[str, _Form] = {
    **{name: _Form("T", _maths(name)) for name in _UNARY},
    **{name: _Form("TT", _maths(name)) for name in _BINARY},
    **{
        name: _Form("T", _intrinsic(name))
        for name in ("floor", "ceil", "trunc", "rint", "round", "sqrt")
    },
    "fabs": _Form("T", _intrinsic("fabs"), native=True),
    "copysign": _Form("TT", _intrinsic("copysign"), native=True),
    "fma": _Form("TTT", _intrinsic("fma")),
    "fmin": _Form("TT", _intrinsic("minnum")),
    "fmax": _Form("TT", _intrinsic("maxnum")),
    "min": _Form("TT", _intrinsic("minnum")),
    "max": _Form("TT", _intrinsic("maxnum")),
    "fmin3": _Form("TTT", _fmin3),
    "fmax3": _Form("TTT", _fmax3),
    "fmedian3": _Form("TTT", _fmedian3),
    "clamp": _Form("TTT", _clamp),
    "saturate": _Form("T", _saturate),
    "sign": _Form("T", _sign),
    "mix": _Form("TTT", _mix),
    "step": _Form("TT", _step),
    "smoothstep": _Form("TTT", _smoothstep),
    "fract": _Form("T", _fract, native=True),
    "fdim": _Form("TT", _fdim),
    "divide": _Form("TT", _binary("fdiv")),
    "recip": _Form("T", lambda code, x: code.binary("fdiv", _like(1, x), x)),
    "nextafter": _Form("TT", _nextafter, native=True),
    "ldexp": _Form("Ti", _ldexp),
    "ilogb": _Form("T", _ilogb, result="i"),
    "isnan": _Form("T", _isnan, result="b", native=True),
    "isinf": _Form("T", _is_class("oeq", inf), result="b", native=True),
    "isfinite": _Form("T", _is_class("one", inf), result="b", native=True),
    "isnormal": _Form("T", _isnormal, result="b", native=True),
    "signbit": _Form("T", _signbit, result="b", native=True),
    "isordered": _Form("TT", _compare("ord"), result="b", native=True),
    "isunordered": _Form("TT", _compare("uno"), result="b", native=True),
    "isequal": _Form("TT", _compare("oeq"), result="b", native=True),
    "isnotequal": _Form("TT", _compare("une"), result="b", native=True),
    "isgreater": _Form("TT", _compare("ogt"), result="b", native=True),
    "isgreaterequal": _Form("TT", _compare("oge"), result="b", native=True),
    "isless": _Form("TT", _compare("olt"), result="b", native=True),
    "islessequal": _Form("TT", _compare("ole"), result="b", native=True),
    "islessgreater": _Form("TT", _compare("one"), result="b", native=True),
}


def floating_function(stem: str, type_: Type) -> Function | None:
    """The function `air.stem.type`, None if there is none of that name."""
    form = _FORMS.get(stem) or _FORMS.get(stem.removeprefix("fast_"))
    if form is None:
        return None
    types = {"T": type_, "i": type_.of("i32"), "b": type_.of("i1")}

    def emit(code: Code, arguments: list[Value]) -> Value:
        if not form.native:
            arguments = [widen(code, argument) for argument in arguments]
        result = form.body(code, *arguments)
        return narrow(code, result, type_) if form.result == "T" else result

    return Function(tuple(types[letter] for letter in form.parameters), types[form.result], emit)
