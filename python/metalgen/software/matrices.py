"""SIMD-group matrices as a thread sees them: the two elements it owns, not AIR's nominal 64."""

from __future__ import annotations

import re
from dataclasses import replace

from metalgen.errors import UnsupportedError
from metalgen.software.ir.model import Aggregate, Function, Instruction, Literal, Operand
from metalgen.software.ir.types import I32, Type, Vector

_CAST = re.compile(r"^  (%\S+) = bitcast <(\d+) x (\w+)> (\S+) to <(\d+) x (\w+)>$", re.MULTILINE)
NOMINAL = 64  # elements of an 8x8 matrix; AIR gives every thread a vector of all of them
OWNED = 2  # of which a thread uses the first two


def keep_to_owned_bits(text: str) -> str:
    """The module with reinterpreted matrices, `bitcast <64 x T>` and back, by owned elements alone.

    Those who hold a matrix as a plain vector of 64 copy its first two elements as other types.
    """
    return _CAST.sub(_owned_cast, text) if f"<{NOMINAL} x " in text else text


def _owned_cast(match: re.Match[str]) -> str:
    result, (from_count, from_type), value, (to_count, to_type) = (
        match[1],
        (int(match[2]), match[3]),
        match[4],
        (int(match[5]), match[6]),
    )
    if NOMINAL not in (from_count, to_count):
        return match[0]
    parts = NOMINAL // OWNED
    if from_count % parts or to_count % parts:
        raise UnsupportedError("not supported: reinterpreting a SIMD-group matrix's bits")
    owned, kept = from_count // parts, to_count // parts
    name = result.strip('%"')
    first = ", ".join(f"i32 {i}" for i in range(owned))
    spread = ", ".join(f"i32 {i}" if i < kept else "i32 poison" for i in range(to_count))
    before, after = f'%"{name}.owned"', f'%"{name}.kept"'
    return (
        f"  {before} = shufflevector <{from_count} x {from_type}> {value}, "
        f"<{from_count} x {from_type}> poison, <{owned} x i32> <{first}>\n"
        f"  {after} = bitcast <{owned} x {from_type}> {before} to <{kept} x {to_type}>\n"
        f"  {result} = shufflevector <{kept} x {to_type}> {after}, "
        f"<{kept} x {to_type}> poison, <{to_count} x i32> <{spread}>"
    )


def narrow_matrices(function: Function) -> None:
    """Replace every <64 x T> value by the <2 x T> of its thread's own elements."""
    for instruction in function.instructions():
        if instruction.opcode == "shufflevector":
            _narrow_shuffle(instruction)
        elif instruction.opcode == "bitcast" and _mentions_matrix(instruction):
            raise UnsupportedError("not supported: reinterpreting a SIMD-group matrix's bits")
        instruction.type = _narrow(instruction.type)
        instruction.operands = [_narrow_operand(operand) for operand in instruction.operands]


def cell(lane: int, element: int) -> tuple[int, int]:
    """Row and column of a lane's first or second element, as Apple's GPUs hold 8x8 matrices."""
    quad = lane // 4
    row = (quad & 4) + lane // 2 % 4
    return row, (quad & 2) * 2 + lane % 2 * 2 + element


def is_matrix(type_: Type) -> bool:
    return isinstance(type_, Vector) and type_.count == NOMINAL


def _mentions_matrix(instruction: Instruction) -> bool:
    return is_matrix(instruction.type) or any(is_matrix(o.type) for o in instruction.operands)


def _narrow(type_: Type) -> Type:
    return Vector(OWNED, type_.element) if is_matrix(type_) and isinstance(type_, Vector) else type_


def _narrow_operand(operand: Operand) -> Operand:
    if not is_matrix(operand.type):
        return operand
    value = operand.value
    if isinstance(value, Aggregate):
        value = replace(value, elements=value.elements[:OWNED])
    return replace(operand, type=_narrow(operand.type), value=value)


def _narrow_shuffle(instruction: Instruction) -> None:
    """Keep a shuffle's meaning while its operands or its result lose 62 elements."""
    source, mask = instruction.operands[0].type, instruction.operands[2]
    if not _mentions_matrix(instruction):
        return
    assert isinstance(source, Vector)
    indices = _mask_indices(mask)
    if is_matrix(instruction.type):
        indices = indices[:OWNED]
    if is_matrix(source):
        indices = [_owned_index(index) for index in indices]
    elements = [Operand(I32, Literal("poison" if i is None else str(i))) for i in indices]
    aggregate = Aggregate(("<", ">"), tuple(elements))
    instruction.operands[2] = Operand(Vector(len(elements), I32), aggregate)


def _owned_index(index: int | None) -> int | None:
    if index is None or index % NOMINAL >= OWNED:
        return None
    return index if index < NOMINAL else index - NOMINAL + OWNED


def _mask_indices(mask: Operand) -> list[int | None]:
    assert isinstance(mask.type, Vector)
    if not isinstance(mask.value, Aggregate):  # zeroinitializer, poison
        same = 0 if str(mask.value) == "zeroinitializer" else None
        return [same] * mask.type.count
    texts = [str(element.value) for element in mask.value.elements]
    return [int(text) if text.isdigit() else None for text in texts]
