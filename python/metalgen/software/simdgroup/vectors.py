"""Instructions that take vectors and aggregates apart, build them, or reread their bits."""

from __future__ import annotations

from metalgen.software.ir.model import Instruction
from metalgen.software.ir.types import Type, Vector
from metalgen.software.simdgroup.addresses import constant
from metalgen.software.simdgroup.divergence import shuffle_mask
from metalgen.software.simdgroup.lanes import Lanes
from metalgen.software.simdgroup.stretches import interleave, part_numbers
from metalgen.software.simdgroup.values import WIDTH, Held, Same, Wide, wide_type

OPCODES = (
    "extractelement",
    "insertelement",
    "shufflevector",
    "extractvalue",
    "insertvalue",
    "bitcast",
)


def lower(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    return {
        "extractelement": _extractelement,
        "insertelement": _insertelement,
        "shufflevector": _shufflevector,
        "extractvalue": _extractvalue,
        "insertvalue": _insertvalue,
        "bitcast": _bitcast,
    }[instruction.opcode](lanes, instruction, operands)


def _extractelement(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    vector, index = operands
    at = constant(instruction.operands[1])
    count = len(lanes.part_types(vector.type))
    if at is not None:
        return lanes.part(vector, at) if at < count else Same(instruction.type, "poison")
    if isinstance(vector, Same) and isinstance(index, Same):
        text = f"extractelement {vector.type} {vector.text}, {index.type} {index.text}"
        return Same(instruction.type, lanes.builder.value(text))
    chosen = lanes.part(vector, 0)
    for position in range(1, count):
        chosen = _choose(lanes, index, position, lanes.part(vector, position), chosen)
    return chosen


def _choose(lanes: Lanes, index: Held, position: int, yes: Held, no: Held) -> Held:
    """`yes` in the lanes whose index is `position`, else `no`."""
    builder, type_ = lanes.builder, yes.type
    arms = f"{wide_type(type_)} {lanes.wide(yes)}, {wide_type(type_)} {lanes.wide(no)}"
    if isinstance(index, Same):
        condition = builder.value(f"icmp eq {index.type} {index.text}, {position}")
        return Wide(type_, builder.value(f"select i1 {condition}, {arms}"))
    wide = f"{wide_type(index.type)} {lanes.wide(index)}"
    condition = builder.value(f"icmp eq {wide}, splat ({index.type} {position})")
    return Wide(type_, builder.value(f"select <{WIDTH} x i1> {condition}, {arms}"))


def _insertelement(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    vector, element, index = operands
    at = constant(instruction.operands[2])
    parts = lanes.parts(vector)
    if at is not None:
        if at < len(parts):
            parts[at] = element
    else:
        parts = [_choose(lanes, index, i, element, part) for i, part in enumerate(parts)]
    return lanes.parted(instruction.type, parts)


def _shufflevector(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    source, result = instruction.operands[0].type, instruction.type
    assert isinstance(source, Vector)
    assert isinstance(result, Vector)
    first, second = lanes.parts(operands[0]), lanes.parts(operands[1])
    count = len(lanes.part_types(result))
    chosen: list[Held] = []
    for index in shuffle_mask(instruction)[:count]:
        part: Held = Same(result.element, "poison")
        if index is not None:
            parts, within = (
                (first, index) if index < source.count else (second, index - source.count)
            )
            if within < len(parts):
                part = parts[within]
        chosen.append(part)
    return lanes.parted(result, chosen)


def _extractvalue(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    held = operands[0]
    for index in instruction.indices:
        held = lanes.part(held, index)
    return held


def _insertvalue(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    return _inserted(lanes, operands[0], operands[1], instruction.indices)


def _inserted(lanes: Lanes, held: Held, element: Held, indices: tuple[int, ...]) -> Held:
    if not indices:
        return element
    parts = lanes.parts(held)
    parts[indices[0]] = _inserted(lanes, parts[indices[0]], element, indices[1:])
    return lanes.parted(held.type, parts)


def _bitcast(lanes: Lanes, instruction: Instruction, operands: list[Held]) -> Held:
    held, target = operands[0], instruction.type
    if held.type == target:
        return held
    if isinstance(held, Same):
        return Same(target, lanes.builder.value(f"bitcast {held.type} {held.text} to {target}"))
    types = lanes.part_types(held.type)
    if not types and not lanes.part_types(target):
        wide = f"{wide_type(held.type)} {lanes.wide(held)}"
        return Wide(target, lanes.builder.value(f"bitcast {wide} to {wide_type(target)}"))
    texts = [lanes.wide(part) for part in lanes.parts(held)] if types else [lanes.wide(held)]
    element = types[0] if types else held.type
    long, text = interleave(lanes, element, texts)
    return _from_memory_order(lanes, long, text, target)


def _from_memory_order(lanes: Lanes, long: str, text: str, target: Type) -> Held:
    """The value of type `target` whose bits, lane after lane, are `text`'s."""
    builder = lanes.builder
    types = lanes.part_types(target)
    count = len(types) or 1
    element = types[0] if types else target
    whole = f"<{WIDTH * count} x {element}>"
    text = builder.value(f"bitcast {long} {text} to {whole}")
    if not types:
        return Wide(target, text)
    elements: list[Held] = []
    for index in range(count):
        order = part_numbers(index, count)
        one = builder.value(f"shufflevector {whole} {text}, {whole} poison, {order}")
        elements.append(Wide(element, one))
    return lanes.parted(target, elements)
