"""Instructions that work on each lane and each vector component alone."""

from __future__ import annotations

from metalgen.software.ir.model import Instruction
from metalgen.software.ir.opcodes import CASTS
from metalgen.software.ir.types import Int, Pointer, Type
from metalgen.software.simdgroup.lanes import Lanes, iota
from metalgen.software.simdgroup.shapes import UNIFORM, Linear, Shape, part
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
    if instruction.opcode in _DIVISIONS:
        return _divide(lanes, instruction, operands, shape, mask)
    if shape == UNIFORM:
        return Same(instruction.type, lanes.builder.value(_text(instruction, operands, None)))
    wide = lanes.builder.value(_text(instruction, operands, lanes))
    if isinstance(shape, Linear):
        return _line(lanes, instruction, operands, shape, wide)
    return Wide(instruction.type, wide)


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
    lanes: Lanes, instruction: Instruction, operands: list[Held], shape: Linear, wide: str
) -> Line:
    # Lane 0 need not run, so what is promised of the lanes that do (nuw ...) says nothing of it.
    plain = Instruction(
        "add" if instruction.opcode == "or" else instruction.opcode,
        instruction.type,
        instruction.operands,
    )
    if instruction.opcode == "select":
        bases = [operands[0], *(Same(o.type, _base(o)) for o in operands[1:])]
        holds = _holds(lanes, operands[1:])
    else:
        bases = [Same(o.type, _base(o)) for o in operands]
        holds = _holds(lanes, operands)
    base = lanes.builder.value(_text(plain, bases, None))
    if instruction.opcode in ("zext", "sext"):
        held = operands[0]
        assert isinstance(held, Line)
        check = extension_holds(lanes, held, signed=instruction.opcode == "sext")
        holds = _holds(lanes, operands, check)
    bound = _bound(instruction, operands)
    return Line(instruction.type, base, shape.stride, wide, holds, bound)


def extension_holds(lanes: Lanes, line: Line, *, signed: bool) -> str:
    """Whether widening the integers keeps them in line: no lane's value may wrap before."""
    assert isinstance(line.type, Int)
    limit = (1 << (line.type.bits - signed)) - 1
    if line.bound is not None and line.bound <= limit:
        return "true"
    span = line.stride * (WIDTH - 1)
    if abs(span) > limit:
        return "false"
    type_ = line.type
    if span >= 0:
        predicate = "sle" if signed else "ule"
        return lanes.builder.value(f"icmp {predicate} {type_} {line.base}, {limit - span}")
    lowest = -(limit + 1) - span if signed else -span
    predicate = "sge" if signed else "uge"
    return lanes.builder.value(f"icmp {predicate} {type_} {line.base}, {lowest}")


def _bound(instruction: Instruction, operands: list[Held]) -> int | None:
    """The largest value of any lane when everything is known to be small and not negative."""
    bounds = [_operand_bound(held) for held in operands]
    first = bounds[0]
    second = bounds[1] if len(bounds) > 1 else None
    assert isinstance(instruction.type, Int)
    limit = 1 << (instruction.type.bits - 1)
    if instruction.opcode in ("zext", "freeze", "sext", "trunc"):
        return first if first is not None and first < limit else None
    if first is None or second is None:
        return None
    result = {
        "add": first + second,
        "or": first + second,
        "mul": first * second,
        "shl": first << min(second, 64),
    }.get(instruction.opcode)
    return result if result is not None and result < limit else None


def _operand_bound(held: Held) -> int | None:
    if isinstance(held, Line):
        return held.bound
    if isinstance(held, Same) and held.text.isdigit():
        return int(held.text)
    return None


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


def add(lanes: Lanes, first: Held, second: Held) -> Held:
    """The sum of two i64 values."""
    type_ = first.type
    if isinstance(first, Same) and isinstance(second, Same):
        return Same(type_, lanes.builder.value(f"add {type_} {first.text}, {second.text}"))
    wide = lanes.builder.value(f"add {wide_type(type_)} {lanes.wide(first)}, {lanes.wide(second)}")
    if isinstance(first, Wide) or isinstance(second, Wide):
        return Wide(type_, wide)
    base = lanes.builder.value(f"add {type_} {_base(first)}, {_base(second)}")
    return Line(type_, base, _stride(first) + _stride(second), wide, _holds(lanes, [first, second]))


def extend_index(lanes: Lanes, index: Held) -> Held:
    """An index of getelementptr as i64: sign-extended, as LLVM defines."""
    i64 = Int(64)
    if index.type == i64:
        return index
    if isinstance(index, Same):
        if not index.text.startswith("%"):
            return Same(i64, index.text)
        return Same(i64, lanes.builder.value(f"sext {index.type} {index.text} to i64"))
    wide = lanes.builder.value(
        f"sext {wide_type(index.type)} {lanes.wide(index)} to {wide_type(i64)}"
    )
    if isinstance(index, Wide):
        return Wide(i64, wide)
    assert isinstance(index, Line)
    base = lanes.builder.value(f"sext {index.type} {index.base} to i64")
    holds = _holds(lanes, [index], extension_holds(lanes, index, signed=True))
    return Line(i64, base, index.stride, wide, holds, index.bound)


def offset_pointer(lanes: Lanes, pointer: Held, index: Held, size: int) -> Held:
    """`pointer` moved by `index` (i64) elements of `size` bytes."""
    builder = lanes.builder
    element = f"[{size} x i8]"
    if isinstance(pointer, Same) and isinstance(index, Same):
        text = f"getelementptr {element}, ptr {pointer.text}, i64 {index.text}"
        return Same(pointer.type, builder.value(text))
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
    wide = builder.value(f"getelementptr {element}, {where}, {what}")
    if isinstance(pointer, Wide) or isinstance(index, Wide):
        return Wide(pointer.type, wide)
    base = builder.value(f"getelementptr {element}, ptr {_base(pointer)}, i64 {_base(index)}")
    stride = _stride(pointer) + size * _stride(index)
    return Line(pointer.type, base, stride, wide, _holds(lanes, [pointer, index]))


def _stride(held: Held) -> int:
    return held.stride if isinstance(held, Line) else 0


def lane_line(lanes: Lanes, type_: Int, base: str, stride: int, bound: int | None) -> Line:
    """base + lane · stride."""
    wide = lanes.builder.splat(type_, base)
    steps = iota(type_, stride)
    wide = lanes.builder.value(f"add {wide_type(type_)} {wide}, {steps}")
    return Line(type_, base, stride, wide, "true", bound)
