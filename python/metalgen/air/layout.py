"""Sizes and alignments of LLVM types in Metal's memory, for counting threadgroup memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metalgen.air.bits import BitstreamError, Record

# Codes of the type table: https://llvm.org/docs/BitCodeFormat.html#type-block-contents
_NUMENTRY, _STRUCT_NAME = 1, 19
_INTEGER, _POINTER, _ARRAY, _VECTOR = 7, 8, 11, 12
_STRUCT_ANON, _STRUCT_NAMED, _OPAQUE_POINTER = 18, 20, 25
_SCALARS = {3: 4, 4: 8, 10: 2, 23: 2}  # float, double, half, bfloat


@dataclass(frozen=True, slots=True)
class Type:
    """Size and alignment in bytes; `bits` is the width of an integer, 0 for anything else."""

    size: int
    alignment: int
    bits: int = 0


# Functions, void, labels and metadata: nothing in memory.
_NOTHING = Type(0, 1)


def read_types(table: Iterable[Record]) -> tuple[Type, ...]:
    """The type table as sizes and alignments, in the order of the numbers that name them."""
    types: list[Type] = []
    for record in table:
        if record.code not in (_NUMENTRY, _STRUCT_NAME):
            types.append(_type(record.code, record.operands, types))
    return tuple(types)


def _type(code: int, operands: Sequence[int], known: list[Type]) -> Type:
    if code in _SCALARS:
        return Type(_SCALARS[code], _SCALARS[code])
    if code == _INTEGER:
        return _integer(operands[0])
    if code in (_POINTER, _OPAQUE_POINTER):
        return Type(8, 8)
    if code == _ARRAY:
        element = _element(known, operands[1])
        return Type(operands[0] * element.size, element.alignment)
    if code == _VECTOR:
        size = _power_of_two(operands[0] * _element(known, operands[1]).size)
        return Type(size, size)
    if code in (_STRUCT_ANON, _STRUCT_NAMED):
        return _struct([_element(known, member) for member in operands[1:]], bool(operands[0]))
    return _NOTHING


def _element(known: list[Type], number: int) -> Type:
    # A type may be used before it is defined, but only behind a pointer.
    if number >= len(known):
        raise BitstreamError(f"expected a type below {len(known)}, found {number}")
    return known[number]


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length() if size else 1


def _integer(bits: int) -> Type:
    size = _power_of_two((bits + 7) // 8)
    return Type(size, min(size, 8), bits)


def _struct(members: list[Type], packed: bool) -> Type:
    size, alignment = 0, 1
    for member in members:
        step = 1 if packed else member.alignment
        size = -(-size // step) * step + member.size
        alignment = max(alignment, step)
    return Type(-(-size // alignment) * alignment, alignment)
