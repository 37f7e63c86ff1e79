"""What an integer instruction makes of patterns: lanes at known distances from a common base."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metalgen.software.ir.model import Operand
from metalgen.software.ir.types import I64, Int, Pointer, Type, Vector
from metalgen.software.simdgroup.addresses import constant
from metalgen.software.simdgroup.facts import Facts
from metalgen.software.simdgroup.shapes import (
    VARYING,
    WIDTH,
    Pattern,
    Shape,
    is_uniform,
    join,
    power_of_two,
    signed,
)

_PASSED_ON = ("freeze", "ptrtoint", "inttoptr", "addrspacecast")
QUOTIENTS = ("lshr", "ashr", "udiv", "sdiv")
_REMAINDERS = ("and", "urem", "srem")


def pattern_of(
    opcode: str,
    flags: Sequence[str],
    type_: Type,
    operands: Sequence[Operand],
    shapes: Sequence[Shape],
    facts: Facts,
) -> Shape:
    """The shape of a scalar result, given the shapes of the operands, not all of them uniform."""
    if not all(isinstance(shape, Pattern) or is_uniform(shape) for shape in shapes):
        return VARYING
    if opcode == "select":
        return join(shapes[1], shapes[2]) if is_uniform(shapes[0]) else VARYING
    first = shapes[0]
    if opcode in _PASSED_ON:
        return VARYING if opcode == "inttoptr" and _bits(operands[0]) != 64 else first
    if not isinstance(type_, Int):
        return first if opcode == "bitcast" and isinstance(type_, Pointer) else VARYING
    known = _known(opcode, type_.bits, operands, shapes)
    if known is not None:
        return known
    if opcode in ("zext", "sext", "trunc"):
        return _resized(opcode, type_, operands[0], first, facts)
    if opcode in ("add", "sub") or (opcode == "or" and "disjoint" in flags):
        return _sum(operands, shapes, -1 if opcode == "sub" else 1, type_, facts)
    if opcode == "mul":
        return _product(operands, shapes, type_)
    number = constant(operands[1]) if len(operands) > 1 else None
    if not isinstance(first, Pattern) or number is None:
        return VARYING
    if opcode == "shl":
        return _scaled(first, 1 << number, type_) if 0 <= number < type_.bits else VARYING
    if opcode not in (*QUOTIENTS, *_REMAINDERS):
        return VARYING
    return _within_blocks(opcode, number, operands[0], first, facts)


def _within_blocks(
    opcode: str, number: int, operand: Operand, first: Pattern, facts: Facts
) -> Shape:
    """Quotients and remainders by powers of two that divide the base."""
    bound = facts.bound(operand)
    if opcode in ("sdiv", "srem", "ashr") and bound is None:
        return VARYING
    if opcode == "and" and number < 0:  # clears the lowest bits
        block = -number
        if power_of_two(block) != block or not _divides(block, first):
            return VARYING
        offsets = tuple(o - o % block for o in first.offsets)
        return Pattern(offsets, max(first.divisor, block), None, first.exact)
    block = number
    if opcode in ("lshr", "ashr"):
        block = 1 << number if 0 <= number < _bits(operand) else 0
    elif opcode == "and":
        block = number + 1
    if block <= 0 or power_of_two(block) != block or not _divides(block, first):
        return VARYING
    if opcode in _REMAINDERS:
        return _from_values([offset % block for offset in first.offsets], _bits(operand))
    exact = first.exact and bound is not None
    quotients = tuple(offset // block for offset in first.offsets)
    return Pattern(quotients, first.divisor // block or 1, None, exact)


def _divides(block: int, pattern: Pattern) -> bool:
    divisor = pattern.divisor if pattern.base is None else power_of_two(pattern.base)
    return divisor % block == 0


def _from_values(values: Sequence[int], bits: int) -> Pattern:
    offsets = (signed(value - values[0], bits) for value in values)
    return Pattern(tuple(offsets), 0, values[0] % (1 << bits))


def _bits(operand: Operand) -> int:
    """The width of an integer, or of a vector's integers; 0 for other types."""
    type_ = operand.type.element if isinstance(operand.type, Vector) else operand.type
    return type_.bits if isinstance(type_, Int) else 0


def values_of(pattern: Pattern, bits: int) -> list[int]:
    """Every lane's value, not negative, of a pattern with a known base."""
    assert pattern.base is not None
    return [(pattern.base + offset) % (1 << bits) for offset in pattern.offsets]


def _known(
    opcode: str, bits: int, operands: Sequence[Operand], shapes: Sequence[Shape]
) -> Pattern | None:
    """The result where every lane's value is known when translating."""
    lanes: list[list[int]] = []
    for operand, shape in zip(operands, shapes, strict=True):
        width = _bits(operand)
        number = constant(operand)
        if isinstance(shape, Pattern) and shape.base is not None:
            lanes.append(values_of(shape, width))
        elif number is not None:
            lanes.append([number % (1 << width)] * WIDTH)
        else:
            return None
    if opcode == "sext":
        return _from_values([signed(v, _bits(operands[0])) for v in lanes[0]], bits)
    rule = _RULES.get(opcode)
    if rule is None or (opcode in ("udiv", "urem") and 0 in lanes[1]):
        return None
    if opcode in ("shl", "lshr") and max(lanes[1]) >= bits:
        return None
    return _from_values([rule(*values) for values in zip(*lanes, strict=True)], bits)


_RULES: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b,
    "lshr": lambda a, b: a >> b,
    "udiv": lambda a, b: a // b,
    "urem": lambda a, b: a % b,
    "zext": lambda a: a,
    "trunc": lambda a: a,
}


def _resized(opcode: str, type_: Int, operand: Operand, first: Shape, facts: Facts) -> Shape:
    if not isinstance(first, Pattern):
        return VARYING
    # An unknown base keeps no more zeros at its end than the type has bits.
    divisor = first.divisor or 1
    if opcode == "trunc":
        return Pattern(first.offsets, min(divisor, 1 << (type_.bits - 1)), None, first.exact)
    return Pattern(first.offsets, divisor, None, first.exact and facts.bound(operand) is not None)


def _sum(
    operands: Sequence[Operand], shapes: Sequence[Shape], sign: int, type_: Int, facts: Facts
) -> Shape:
    offsets = [0] * WIDTH
    exact = True
    divisors = []
    for operand, shape, factor in zip(operands, shapes, (1, sign), strict=True):
        if isinstance(shape, Pattern):
            offsets = [o + factor * p for o, p in zip(offsets, shape.offsets, strict=True)]
            exact = exact and shape.exact
            power = shape.divisor if shape.base is None else power_of_two(shape.base)
            divisors.append(power)
        else:
            divisors.append(facts.divisor(operand))
    smallest = min((d for d in divisors if d), default=1)
    return Pattern(_normal(offsets, type_), smallest, None, exact)


def _normal(offsets: Sequence[int], type_: Int) -> tuple[int, ...]:
    """Offsets as small as they can be, modulo the width."""
    return tuple(signed(offset, type_.bits) for offset in offsets)


def _product(operands: Sequence[Operand], shapes: Sequence[Shape], type_: Int) -> Shape:
    for shape, factor in ((shapes[0], operands[1]), (shapes[1], operands[0])):
        number = constant(factor)
        if isinstance(shape, Pattern) and number:
            return _scaled(shape, number, type_)
    return VARYING


def _scaled(pattern: Pattern, factor: int, type_: Int) -> Pattern:
    offsets = _normal([offset * factor for offset in pattern.offsets], type_)
    divisor = (pattern.divisor or 1) * power_of_two(factor)
    return Pattern(offsets, min(divisor, 1 << (type_.bits - 1)), None, pattern.exact)


def index_pattern(operand: Operand, shape: Shape, facts: Facts) -> Shape:
    """The shape of an index of getelementptr, which LLVM sign-extends."""
    if is_uniform(shape) or _bits(operand) == I64.bits:
        return shape
    return pattern_of("sext", (), I64, [operand], [shape], facts)
