"""Instructions that work on each lane and each vector component alone."""

from __future__ import annotations

from metalgen.software.ir.model import Instruction
from metalgen.software.ir.opcodes import CASTS
from metalgen.software.ir.types import I64, Int, Pointer, Type
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.patterns import QUOTIENTS
from metalgen.software.simdgroup.shapes import (
    UNIFORM,
    VARYING,
    Pattern,
    Shape,
    evenly,
    part,
    signed,
)
from metalgen.software.simdgroup.values import (
    WIDTH,
    Held,
    Line,
    Mask,
    Same,
    Wide,
    wide_type,
)

_DIVISIONS = ("udiv", "sdiv", "urem", "srem")


def lower_elementwise(
    lanes: Lanes, instruction: Instruction, operands: list[Held], shape: Shape, mask: Mask
) -> Held:
    """Arithmetic, comparisons, casts, select, fneg, freeze."""
    types = lanes.part_types(instruction.type)
    if shape == UNIFORM and instruction.opcode not in _DIVISIONS:
        whole: list[Held] = [Same(o.type, lanes.same(lanes.shaped(o, UNIFORM))) for o in operands]
        return Same(instruction.type, lanes.builder.value(_text(instruction, whole, None)))
    if not types:
        return lower_scalar(lanes, instruction, operands, shape, mask)
    elements = [
        lower_scalar(
            lanes,
            _component(instruction, element),
            [lanes.part(o, i) if lanes.part_types(o.type) else o for o in operands],
            part(shape, i),
            mask,
        )
        for i, element in enumerate(types)
    ]
    return lanes.parted(instruction.type, elements)


def _component(instruction: Instruction, element: Type) -> Instruction:
    """The instruction as it applies to one component."""
    return Instruction(
        instruction.opcode,
        element,
        instruction.operands,
        flags=instruction.flags,
        predicate=instruction.predicate,
    )


def lower_scalar(
    lanes: Lanes, instruction: Instruction, operands: list[Held], shape: Shape, mask: Mask
) -> Held:
    if isinstance(shape, Pattern):
        return _line(lanes, instruction, operands, shape, mask)
    if instruction.opcode in _DIVISIONS:
        return _divide(lanes, instruction, operands, shape, mask)
    if shape == UNIFORM:
        return Same(instruction.type, lanes.builder.value(_text(instruction, operands, None)))
    return Wide(instruction.type, lanes.builder.value(_text(instruction, operands, lanes)))


def _text(instruction: Instruction, operands: list[Held], lanes: Lanes | None) -> str:
    """The instruction on whole operands, or with `lanes` on their 32-wide forms."""

    def typed(held: Held) -> str:
        if lanes is None:
            assert isinstance(held, Same)
            return f"{held.type} {held.text}"
        return f"{wide_type(held.type)} {lanes.wide(held)}"

    head = " ".join(filter(None, (instruction.opcode, *instruction.flags, instruction.predicate)))
    first, *rest = operands
    if instruction.opcode in CASTS:
        target = instruction.type if lanes is None else wide_type(instruction.type)
        if isinstance(instruction.type, Pointer) and isinstance(first.type, Pointer):
            head = "bitcast"
        return f"{head} {typed(first)} to {target}"
    if instruction.opcode == "select":
        condition = first
        if isinstance(condition, Same) and not lanes_of(condition):
            return f"{head} i1 {condition.text}, " + ", ".join(map(typed, rest))
        return f"{head} " + ", ".join(map(typed, operands))
    if not rest:
        return f"{head} {typed(first)}"
    second = typed(rest[0])
    return f"{head} {typed(first)}, {second[len(_type_of(rest[0], lanes)) + 1 :]}"


def lanes_of(condition: Same) -> bool:
    """Whether a condition is itself a vector of conditions."""
    return not isinstance(condition.type, Int)


def _type_of(held: Held, lanes: Lanes | None) -> str:
    return str(held.type) if lanes is None else wide_type(held.type)


def _base(held: Held) -> str:
    assert isinstance(held, Same | Line)
    return held.text if isinstance(held, Same) else held.base


def _holds(lanes: Lanes, operands: list[Held], more: str = "true") -> str:
    """The conjunction of what the operands' lines depend on."""
    result = more
    for held in operands:
        if isinstance(held, Line) and held.holds not in ("true", result):
            result = (
                held.holds
                if result == "true"
                else lanes.builder.value(f"and i1 {result}, {held.holds}")
            )
    return result


def _line(
    lanes: Lanes, instruction: Instruction, operands: list[Held], pattern: Pattern, mask: Mask
) -> Line:
    if pattern.base is not None:
        return known_line(instruction.type, pattern)
    base = _line_base(lanes, instruction, operands)
    if pattern.exact:
        return Line(instruction.type, base, pattern)
    wide = _line_wide(lanes, instruction, operands, mask)
    check = "true"
    if instruction.opcode in ("zext", "sext", *QUOTIENTS):
        held = operands[0]
        assert isinstance(held, Line)
        check = no_wrap(lanes, held, signed=instruction.opcode in ("sext", "ashr", "sdiv"))
    return Line(instruction.type, base, pattern, _holds(lanes, operands, check), wide)


def known_line(type_: Type, pattern: Pattern) -> Line:
    """A value that is known for every lane when translating."""
    assert pattern.base is not None
    assert isinstance(type_, Int)
    return Line(type_, str(signed(pattern.base, type_.bits)), pattern)


def _line_base(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> str:
    """Lane 0's value."""
    first, *rest = operands
    opcode = instruction.opcode
    if opcode in QUOTIENTS:
        amount = _base(rest[0])
        if opcode in ("udiv", "sdiv"):
            amount = str(int(amount).bit_length() - 1)
        return lanes.builder.value(f"lshr {first.type} {_base(first)}, {amount}")
    # Lane 0 need not run, so what is promised of the lanes that do (nuw ...) says nothing of it.
    plain = Instruction("add" if opcode == "or" else opcode, instruction.type, instruction.operands)
    kept = 1 if opcode == "select" else 0
    bases: list[Held] = [*operands[:kept], *(Same(o.type, _base(o)) for o in operands[kept:])]
    return lanes.builder.value(_text(plain, bases, None))


def _line_wide(lanes: Lanes, instruction: Instruction, operands: list[Held], mask: Mask) -> str:
    if instruction.opcode in _DIVISIONS:
        return lanes.wide(_divide(lanes, instruction, operands, VARYING, mask))
    return lanes.builder.value(_text(instruction, operands, lanes))


def no_wrap(lanes: Lanes, line: Line, *, signed: bool) -> str:
    """Whether widening the integers keeps them in line: no lane's value may wrap before."""
    assert isinstance(line.type, Int)
    type_, offsets = line.type, line.pattern.offsets
    highest, lowest = max(offsets), min(offsets)
    limit = (1 << (type_.bits - signed)) - 1
    least = -(limit + 1) if signed else 0
    if highest - lowest > limit:
        return "false"
    letter = "s" if signed else "u"
    checks = []
    if highest > 0:
        checks.append(f"icmp {letter}le {type_} {line.base}, {limit - highest}")
    if lowest < 0:
        checks.append(f"icmp {letter}ge {type_} {line.base}, {least - lowest}")
    conditions = [lanes.builder.value(check) for check in checks]
    if len(conditions) == 2:
        return lanes.builder.value(f"and i1 {conditions[0]}, {conditions[1]}")
    return conditions[0] if conditions else "true"


def _divide(
    lanes: Lanes, instruction: Instruction, operands: list[Held], shape: Shape, mask: Mask
) -> Held:
    """Integer division that never traps: Metal leaves x / 0 undefined, a CPU ends the process."""
    builder, type_ = lanes.builder, instruction.type
    uniform = shape == UNIFORM
    name = str(type_) if uniform else wide_type(type_)
    dividend, divisor = ((lanes.same(o) if uniform else lanes.wide(o)) for o in operands)
    one, zero = ("1", "0") if uniform else (f"splat ({type_} 1)", "zeroinitializer")
    minus = "-1" if uniform else f"splat ({type_} -1)"
    condition = "i1" if uniform else f"<{WIDTH} x i1>"
    number = _constant_divisor(operands[1])
    if number is None or number == 0:
        bad = builder.value(f"icmp eq {name} {divisor}, {zero}")
        if not uniform:
            idle = builder.value(f"xor {condition} {mask.lanes}, splat (i1 true)")
            bad = builder.value(
                f"select {condition} {idle}, {condition} splat (i1 true), {condition} {bad}"
            )
        divisor = builder.value(f"select {condition} {bad}, {name} {one}, {name} {divisor}")
    negative = None
    if instruction.opcode in ("sdiv", "srem") and number is None:
        negative = builder.value(f"icmp eq {name} {divisor}, {minus}")
        divisor = builder.value(f"select {condition} {negative}, {name} {one}, {name} {divisor}")
    result = builder.value(f"{instruction.opcode} {name} {dividend}, {divisor}")
    if negative is not None:
        special = builder.value(f"sub {name} {zero}, {dividend}")
        special = zero if instruction.opcode == "srem" else special
        result = builder.value(f"select {condition} {negative}, {name} {special}, {name} {result}")
    return Same(type_, result) if uniform else Wide(type_, result)


def _constant_divisor(held: Held) -> int | None:
    if isinstance(held, Same) and held.text.lstrip("-").isdigit():
        number = int(held.text)
        return None if number == -1 else number
    return None


# Sums of offsets, for addresses.


def extend_index(lanes: Lanes, index: Held, shape: Shape) -> Held:
    """An index of getelementptr as i64, of the given shape: sign-extended, as LLVM defines."""
    if index.type == I64:
        return index
    if isinstance(index, Same):
        if not index.text.startswith("%"):
            return Same(I64, index.text)
        return Same(I64, lanes.builder.value(f"sext {index.type} {index.text} to i64"))
    if isinstance(index, Line) and isinstance(shape, Pattern):
        return _extended_line(lanes, index, shape)
    wide = f"{wide_type(index.type)} {lanes.wide(index)}"
    return Wide(I64, lanes.builder.value(f"sext {wide} to {wide_type(I64)}"))


def _extended_line(lanes: Lanes, index: Line, pattern: Pattern) -> Line:
    if pattern.base is not None:
        return known_line(I64, pattern)
    base = lanes.builder.value(f"sext {index.type} {index.base} to i64")
    if pattern.exact:
        return Line(I64, base, pattern)
    holds = _holds(lanes, [index], no_wrap(lanes, index, signed=True))
    wide = f"{wide_type(index.type)} {lanes.wide(index)}"
    wide = lanes.builder.value(f"sext {wide} to {wide_type(I64)}")
    return Line(I64, base, pattern, holds, wide)


def offset_pointer(lanes: Lanes, pointer: Held, index: Held, size: int) -> Held:
    """`pointer` moved by `index` (i64) elements of `size` bytes."""
    builder = lanes.builder
    element = f"[{size} x i8]"
    if isinstance(pointer, Same) and isinstance(index, Same):
        text = f"getelementptr {element}, ptr {pointer.text}, i64 {index.text}"
        return Same(pointer.type, builder.value(text))
    if isinstance(pointer, Wide) or isinstance(index, Wide):
        return Wide(pointer.type, _wide_pointer(lanes, pointer, index, element))
    base = builder.value(f"getelementptr {element}, ptr {_base(pointer)}, i64 {_base(index)}")
    pairs = zip(_offsets(pointer), _offsets(index), strict=True)
    offsets = tuple(start + size * step for start, step in pairs)
    if _is_exact(pointer) and _is_exact(index):
        return Line(pointer.type, base, Pattern(offsets))
    wide = _wide_pointer(lanes, pointer, index, element)
    holds = _holds(lanes, [pointer, index])
    return Line(pointer.type, base, Pattern(offsets, exact=False), holds, wide)


def _wide_pointer(lanes: Lanes, pointer: Held, index: Held, element: str) -> str:
    where = (
        f"ptr {pointer.text}"
        if isinstance(pointer, Same)
        else f"{wide_type(pointer.type)} {lanes.wide(pointer)}"
    )
    what = (
        f"i64 {index.text}"
        if isinstance(index, Same)
        else f"{wide_type(index.type)} {lanes.wide(index)}"
    )
    return lanes.builder.value(f"getelementptr {element}, {where}, {what}")


def _is_exact(held: Held) -> bool:
    return not isinstance(held, Line) or held.pattern.exact


def _offsets(held: Held) -> tuple[int, ...]:
    return held.pattern.offsets if isinstance(held, Line) else evenly(0)
