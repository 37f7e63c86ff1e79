"""Scalar functions that touch memory: atomics, fences, and results through pointers.

Every atomic is sequentially consistent (loads acquire, stores release), whatever order it asks
for: at least what was asked, and on most hosts no dearer.
"""

from __future__ import annotations

from metalgen.software.runtime.floating import call_maths
from metalgen.software.runtime.ir import Code, Function, Type, Value, constant
from metalgen.software.runtime.rounding import narrow, widen

_POINTER = Type("ptr")

_INTEGER_OPERATIONS = {
    "add": "add",
    "sub": "sub",
    "and": "and",
    "or": "or",
    "xor": "xor",
    "xchg": "xchg",
}
_FLOAT_OPERATIONS = {"add": "fadd", "sub": "fsub", "min": "fmin", "max": "fmax", "xchg": "xchg"}


def _bytes(type_: Type) -> int:
    return type_.bits // 8


def _modify(operation: str, type_: Type) -> Function:
    def emit(code: Code, arguments: list[Value]) -> Value:
        pointer, value = arguments
        return code.let(
            f"atomicrmw {operation} ptr {pointer.text}, {type_.ir} {value.text} seq_cst", type_
        )

    return Function((_POINTER, type_), type_, emit, pure=False)


def _compare_exchange(type_: Type) -> Function:
    """Returns what was there and writes it to `expected` too: no change if it was equal."""
    integer = Type(f"i{type_.bits}")

    def emit(code: Code, arguments: list[Value]) -> Value:
        pointer, expected_pointer, desired = arguments
        expected = code.let(f"load {integer.ir}, ptr {expected_pointer.text}", integer)
        new = code.cast("bitcast", desired, integer)
        pair = code.let(
            f"cmpxchg ptr {pointer.text}, {integer.ir} {expected.text}, "
            f"{integer.ir} {new.text} seq_cst seq_cst",
            integer,
        )
        old = code.let(f"extractvalue {{ {integer.ir}, i1 }} {pair.text}, 0", integer)
        code.do(f"store {integer.ir} {old.text}, ptr {expected_pointer.text}")
        return code.cast("bitcast", old, type_)

    return Function((_POINTER, _POINTER, type_), type_, emit, pure=False)


def _load(type_: Type) -> Function:
    def emit(code: Code, arguments: list[Value]) -> Value:
        pointer = arguments[0].text
        return code.let(
            f"load atomic {type_.ir}, ptr {pointer} acquire, align {_bytes(type_)}", type_
        )

    return Function((_POINTER,), type_, emit, pure=False)


def _store(code: Code, pointer: Value, value: Value, volatile: str = "") -> None:
    code.do(
        f"store atomic {volatile}{value.type.ir} {value.text}, ptr {pointer.text} release, "
        f"align {_bytes(value.type)}"
    )


def atomic_function(operation: str, sign: str, type_: Type) -> Function | None:
    """`air.atomic.{global,local}.operation.sign.type`."""
    if type_.lanes > 1 or type_.element in ("i1", "f16", "bf16"):
        return None
    if operation == "load":
        return _load(type_)
    if operation == "store":
        return Function((_POINTER, type_), None, lambda c, a: _store(c, a[0], a[1]), pure=False)
    if operation == "cmpxchg":
        return _compare_exchange(type_)
    if type_.is_float:
        name = _FLOAT_OPERATIONS.get(operation)
    elif operation in ("min", "max"):
        name = operation if sign == "s" else f"u{operation}"
    else:
        name = _INTEGER_OPERATIONS.get(operation)
    return None if name is None else _modify(name, type_)


def _emit_fence(code: Code, _arguments: list[Value]) -> None:
    code.do("fence seq_cst")


FENCE = Function((), None, _emit_fence, pure=False)


def coherent_function(operation: str, type_: Type) -> Function | None:
    """`air.{load,store}.system_coherent.volatile.TYPE.p1TYPE`."""
    if operation == "store":

        def emit(code: Code, arguments: list[Value]) -> None:
            value, pointer = arguments
            _store(code, pointer, value, "volatile ")

        return Function((type_, _POINTER), None, emit, pure=False)
    return _load(type_) if operation == "load" else None


def _through_pointer(code: Code, value: Value, pointer: Value) -> None:
    code.do(f"store {value.type.ir} {value.text}, ptr {pointer.text}")


def _frexp(code: Code, x: Value, pointer: Value) -> Value:
    wide = widen(code, x)
    _through_pointer(code, call_maths(code, "frexp_exponent", "i32", wide), pointer)
    return narrow(code, call_maths(code, "frexp_fraction", "f32", wide), x.type)


def _modf(code: Code, x: Value, pointer: Value) -> Value:
    wide = widen(code, x)
    whole = code.intrinsic("trunc", wide)
    _through_pointer(code, narrow(code, whole, x.type), pointer)
    is_whole = code.compare("fcmp oeq", wide, whole)  # infinities too
    fraction = code.binary("fsub", wide, whole)
    rest = code.select(is_whole, constant(0, wide.type), fraction)
    return narrow(code, code.intrinsic("copysign", rest, wide), x.type)


def _sincos(code: Code, x: Value, pointer: Value) -> Value:
    wide = widen(code, x)
    _through_pointer(code, narrow(code, call_maths(code, "cos", "f32", wide), x.type), pointer)
    return narrow(code, call_maths(code, "sin", "f32", wide), x.type)


def pointer_function(stem: str, type_: Type) -> Function | None:
    """frexp, modf and sincos, whose second result goes through a pointer."""
    bodies = {"frexp": _frexp, "modf": _modf, "sincos": _sincos}
    body = bodies.get(stem.removeprefix("fast_"))
    if body is None:
        return None
    emit = body
    return Function((type_, _POINTER), type_, lambda c, a: emit(c, *a[:2]), pure=False)
