"""SIMD-group and quad-group functions: `v32.air.simd_NAME(arguments..., i32 active)`.

`active` has a bit for each lane that executes the call. Other lanes contribute nothing; what a
lane gets from an inactive one is zero: undefined in Metal, but what PyTorch's sums of 64-bit
integers over a few threads count on. f16 and bf16 reductions and scans accumulate in f32 and round
once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

from metalgen.software.runtime.ir import (
    LANES,
    Code,
    Function,
    Type,
    Value,
    constant,
    vector_constant,
)
from metalgen.software.runtime.rounding import narrow, widen

Shape = Literal["uniform", "varying"]

_LANES = list(range(LANES))
_PREFIX = re.compile(r"prefix_(inclusive|exclusive)_(sum|product)")
_MASK = Type("i32")
_INDEX = Type("i16", LANES)
_DIRECTED = ("shuffle_up", "shuffle_down", "shuffle_rotate_up", "shuffle_rotate_down")


@dataclass(frozen=True, slots=True)
class _Operator:
    """An associative operation and its identity."""

    instruction: str  # "add", or an intrinsic as in "@smin"
    identity: float

    def apply(self, code: Code, x: Value, y: Value) -> Value:
        if self.instruction.startswith("@"):
            return code.intrinsic(self.instruction[1:], x, y)
        return code.binary(self.instruction, x, y)


def _operator(name: str, sign: str, type_: Type) -> _Operator | None:
    if type_.is_float:
        # NaN is what minnum and maxnum ignore.
        floats = {
            "sum": _Operator("fadd", -0.0),
            "product": _Operator("fmul", 1),
            "min": _Operator("@minnum", nan),
            "max": _Operator("@maxnum", nan),
        }
        return floats.get(name)
    top = 2 ** (type_.bits - 1) - 1
    low, high = (-top - 1, top) if sign == "s" else (0, -1)
    integers = {
        "sum": _Operator("add", 0),
        "product": _Operator("mul", 1),
        "min": _Operator(f"@{sign}min", high),
        "max": _Operator(f"@{sign}max", low),
        "and": _Operator("and", -1),
        "or": _Operator("or", 0),
        "xor": _Operator("xor", 0),
    }
    return integers.get(name)


def _lane_mask(code: Code, mask: Value) -> Value:
    return code.cast("bitcast", mask, Type("i1", LANES))


def _bits_of(code: Code, lanes: Value) -> Value:
    return code.cast("bitcast", lanes, _MASK)


def _contributions(code: Code, operator: _Operator, x: Value, active: Value) -> Value:
    x = widen(code, x)
    return code.select(_lane_mask(code, active), x, constant(operator.identity, x.type))


def _reduce(code: Code, operator: _Operator, x: Value, active: Value) -> Value:
    """Halves the vector five times: the same order of additions on every host."""
    element = Type(x.type.element)
    lanes = _contributions(code, operator, x, active)
    while lanes.type.lanes > 1:
        half = lanes.type.lanes // 2
        if half == 1:
            lanes = operator.apply(code, code.extract(lanes, 0), code.extract(lanes, 1))
            break
        low = code.permute(lanes, list(range(half)))
        high = code.permute(lanes, list(range(half, 2 * half)))
        lanes = operator.apply(code, low, high)
    return narrow(code, lanes, element)


def _quad_reduce(code: Code, operator: _Operator, x: Value, active: Value) -> Value:
    lanes = _contributions(code, operator, x, active)
    for distance in (1, 2):
        other = code.permute(lanes, [lane ^ distance for lane in _LANES])
        lanes = operator.apply(code, lanes, other)
    return narrow(code, lanes, x.type)


def _shift_up(code: Code, operator: _Operator, x: Value, distance: int, group: int) -> Value:
    """Lane i gets lane i - distance of its group, or the identity."""
    sources = [lane - distance if lane % group >= distance else LANES + lane for lane in _LANES]
    return code.shuffle(x, constant(operator.identity, x.type), sources)


def _scan(
    code: Code, *, operator: _Operator, x: Value, active: Value, group: int, exclusive: bool
) -> Value:
    """Hillis and Steele's scan within groups of lanes."""
    lanes = _contributions(code, operator, x, active)
    distance = 1
    while distance < group:
        lanes = operator.apply(code, lanes, _shift_up(code, operator, lanes, distance, group))
        distance *= 2
    if exclusive:
        lanes = _shift_up(code, operator, lanes, 1, group)
    return narrow(code, lanes, x.type)


def _permute_by(code: Code, x: Value, sources: Value) -> Value:
    """Lane i gets lane sources[i] of x; of those that take no part, any.

    By way of memory: LLVM makes one shuffle of it where the sources are constant and one load
    where they are the same, and would store x anew for each variable extractelement.
    """
    memory = code.let(f"alloca {x.type.ir}, align 16", Type("ptr"))
    code.do(f"store {x.type.ir} {x.text}, ptr {memory.text}, align 16")
    sources = code.binary("and", sources, constant(LANES - 1, sources.type))
    result = Value("poison", x.type)
    for lane in _LANES:
        source = code.extract(sources, lane)
        gep = f"getelementptr {x.type.element_ir}, ptr {memory.text}, i16 {source.text}"
        address = code.let(gep, memory.type)
        element = code.let(f"load {x.type.element_ir}, ptr {address.text}", Type(x.type.element))
        result = code.insert(result, element, lane)
    return result


def _lane_numbers(group: int) -> tuple[Value, Value]:
    """Each lane's number in its group, and the number of its group's first lane."""
    within = vector_constant([lane % group for lane in _LANES], "i16")
    first = vector_constant([lane - lane % group for lane in _LANES], "i16")
    return within, first


def _source_within(code: Code, kind: str, group: int, operand: Value) -> Value:
    """The lane of its group that each lane reads; itself beyond the group's ends."""
    within, _ = _lane_numbers(group)
    ring = constant(group - 1, _INDEX)
    if kind in ("shuffle", "broadcast"):
        return code.binary("and", operand, ring)
    if kind == "shuffle_xor":
        return code.binary("and", code.binary("xor", within, operand), ring)
    moved = code.binary("sub" if kind.endswith("up") else "add", within, operand)
    if "rotate" in kind:
        return code.binary("and", moved, ring)
    # Unsigned: a difference below zero is a large number.
    inside = code.compare("icmp ule", moved, ring)
    return code.select(inside, moved, within)


def _given(code: Code, x: Value, active: Value) -> Value:
    """What each lane holds out for others to read."""
    return code.select(_lane_mask(code, active), x, constant(0, x.type))


def _shuffle(code: Code, kind: str, group: int, x: Value, operand: Value, active: Value) -> Value:
    _, first = _lane_numbers(group)
    x = _given(code, x, active)
    return _permute_by(
        code, x, code.binary("or", _source_within(code, kind, group, operand), first)
    )


def _shuffle_and_fill(code: Code, kind: str, group: int, arguments: Sequence[Value]) -> Value:
    """A shuffle within each vector of `modulo` lanes; what is missing comes from another."""
    x, filling, delta, modulo, active = arguments
    lane = vector_constant(_LANES, "i16")
    modulo = code.intrinsic("umin", modulo, constant(group, _INDEX))
    ring = code.binary("sub", modulo, constant(1, _INDEX))
    within = code.binary("and", lane, ring)
    moved = code.binary("sub" if kind.endswith("up") else "add", within, delta)
    source = code.binary("or", code.binary("and", moved, ring), code.binary("sub", lane, within))
    inside = code.compare("icmp ule", moved, ring)
    x, filling = _given(code, x, active), _given(code, filling, active)
    return code.select(inside, _permute_by(code, x, source), _permute_by(code, filling, source))


def _first_active(code: Code, active: Value) -> Value:
    """The number of the lowest active lane; 0 where none is."""
    count = code.intrinsic("cttz", active, flag=", i1 false")
    return code.binary("and", count, constant(LANES - 1, _MASK))


def _quad_bits(code: Code, mask: Value) -> Value:
    """For each lane the four bits of its quad-group, as <32 x i32>."""
    wide = code.splat(mask, LANES)
    first = vector_constant([lane & ~3 for lane in _LANES], "i32")
    return code.binary("and", code.binary("lshr", wide, first), constant(15, wide.type))


def _lowest_bit(code: Code, mask: Value) -> Value:
    return code.binary("and", mask, code.binary("sub", constant(0, mask.type), mask))


Body = Callable[[Code, list[Value]], Value]


def _function(parameters: tuple[Type, ...], result: Type, body: Body) -> Function:
    return Function((*parameters, _MASK), result, body)


def _reduction(group: int, operator: _Operator, type_: Type) -> Function:
    if group == LANES:
        return _function((type_,), Type(type_.element), lambda c, a: _reduce(c, operator, *a))
    return _function((type_,), type_, lambda c, a: _quad_reduce(c, operator, *a))


def _permutation(group: int, kind: str, type_: Type) -> Function | None:
    if kind in ("shuffle_and_fill_up", "shuffle_and_fill_down"):
        return _function(
            (type_, type_, _INDEX, _INDEX),
            type_,
            lambda c, a: _shuffle_and_fill(c, kind, group, a),
        )
    if kind in ("shuffle", "broadcast", "shuffle_xor") or kind in _DIRECTED:
        return _function((type_, _INDEX), type_, lambda c, a: _shuffle(c, kind, group, *a))
    if kind == "broadcast_first":
        return _broadcast_first(group, type_)
    return None


def _broadcast_first(group: int, type_: Type) -> Function:
    if group == LANES:
        return _function(
            (type_,),
            Type(type_.element),
            lambda c, a: c.extract(a[0], _first_active(c, a[1])),
        )

    def body(code: Code, arguments: list[Value]) -> Value:
        x, active = arguments
        quad = _quad_bits(code, active)
        lowest = code.intrinsic("cttz", quad, flag=", i1 false")
        lane = code.cast("trunc", code.binary("and", lowest, constant(3, quad.type)), _INDEX)
        return _shuffle(code, "shuffle", group, x, lane, active)

    return _function((type_,), type_, body)


def _typed(group: int, name: str, sign: str, element: Type) -> Function | None:
    """Functions whose name ends in the type of their data."""
    type_ = Type(element.element, LANES)
    operator = _operator(name, sign, type_)
    if operator is not None:
        return _reduction(group, operator, type_)
    scan = _PREFIX.fullmatch(name)
    scanned = None if scan is None else _operator(scan[2], sign, type_)
    if scan is not None and scanned is not None:
        exclusive = scan[1] == "exclusive"
        body = functools.partial(_scan, operator=scanned, group=group, exclusive=exclusive)
        return _function((type_,), type_, lambda code, a: body(code, x=a[0], active=a[1]))
    return _permutation(group, name, type_)


def _vote(group: int, name: str) -> Function | None:
    """Functions of a condition: masks of 32 bits in, and for quad-groups out."""

    def any_(code: Code, predicate: Value, active: Value) -> Value:
        met = _bits_for(code, code.binary("and", predicate, active))
        return code.compare("icmp ne", met, constant(0, met.type))

    def all_(code: Code, predicate: Value, active: Value) -> Value:
        met = _bits_for(code, code.binary("and", predicate, active))
        return code.compare("icmp eq", met, _bits_for(code, active))

    def _bits_for(code: Code, mask: Value) -> Value:
        return mask if group == LANES else _quad_bits(code, mask)

    body = {"any": any_, "all": all_}.get(name)
    if body is None:
        return None
    result = Type("i1", 1 if group == LANES else LANES)
    chosen = body

    def emit(code: Code, arguments: list[Value]) -> Value:
        return chosen(code, _bits_of(code, arguments[0]), arguments[1])

    return _function((Type("i1", LANES),), result, emit)


def _mask_function(group: int, name: str, integer: str) -> Function | None:
    """ballot and active_threads_mask, as integers of a given width."""
    if name not in ("ballot", "active_threads_mask"):
        return None
    result = Type(integer, 1 if group == LANES else LANES)

    def emit(code: Code, arguments: list[Value]) -> Value:
        mask = arguments[-1]
        if name == "ballot":
            mask = code.binary("and", _bits_of(code, arguments[0]), mask)
        bits = mask if group == LANES else _quad_bits(code, mask)
        if result.bits == 32:
            return bits
        return code.cast("zext" if result.bits > 32 else "trunc", bits, result)

    return _function((Type("i1", LANES),) if name == "ballot" else (), result, emit)


def _is_first(group: int) -> Function:
    def emit(code: Code, arguments: list[Value]) -> Value:
        (active,) = arguments
        if group == LANES:
            return _lane_mask(code, _lowest_bit(code, active))
        own = vector_constant([1 << lane % 4 for lane in _LANES], "i32")
        return code.compare("icmp eq", _lowest_bit(code, _quad_bits(code, active)), own)

    return _function((), Type("i1", LANES), emit)


_GROUPS = {"simd_": LANES, "quad_": 4}


def simdgroup_function(stem: str, sign: str, type_: Type | None) -> Function | None:
    """The function `v32.air.stem.sign.type`; `type_` is None where the name ends in none."""
    group = _GROUPS.get(stem[:5])
    if group is None:
        return None
    name = stem[5:]
    if type_ is None:
        return _is_first(group) if name == "is_first" else _vote(group, name)
    if type_.lanes > 1:
        return None
    return _mask_function(group, name, type_.element) or _typed(group, name, sign, type_)
