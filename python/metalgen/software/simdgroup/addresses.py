"""What a getelementptr adds to a pointer, in bytes."""

from __future__ import annotations

from collections.abc import Iterator

from metalgen.software.ir.model import Instruction, Literal, Operand
from metalgen.software.ir.types import Array, Int, Layout, Named, Struct, Type, Vector


def constant(operand: Operand) -> int | None:
    """The value of an integer literal, signed as written."""
    value = operand.value
    if not isinstance(value, Literal) or not isinstance(operand.type, Int):
        return None
    if value.text in ("true", "false"):
        return int(value.text == "true")
    if value.text == "zeroinitializer":
        return 0
    return int(value.text) if value.text.lstrip("-").isdigit() else None


def address_steps(instruction: Instruction, layout: Layout) -> Iterator[tuple[int, Operand | None]]:
    """Pairs (bytes, index): `bytes` times the index, or just `bytes` where there is none."""
    type_ = instruction.source_type
    assert type_ is not None
    size = layout.size(type_)
    for position, operand in enumerate(instruction.operands[1:]):
        number = constant(operand)
        if position > 0:
            if isinstance(type_, Struct | Named):
                assert number is not None
                yield layout.offset(type_, number), None
                type_ = layout.struct(type_).elements[number]
                continue
            type_ = _element(type_)
            size = layout.size(type_)
        yield (size * number, None) if number is not None else (size, operand)


def _element(type_: Type) -> Type:
    assert isinstance(type_, Array | Vector)
    return type_.element
