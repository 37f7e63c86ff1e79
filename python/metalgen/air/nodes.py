"""LLVM's metadata: a module's METADATA and CONSTANTS blocks to trees of strings and numbers.

Kernels made from one template differ in their names and bodies and often in nothing else: of
thousands in one file two in three have the same blocks as another. So whole blocks are remembered,
and what differs, the globals' names, is left out: a tree holds a global's number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from metalgen.air.bits import Abbreviation, Bits, BitstreamError, Record
from metalgen.air.bitstream import read_run

# Codes of metadata records (https://llvm.org/docs/BitCodeFormat.html and LLVMBitCodes.h).
_STRING_OLD, _VALUE, _NODE, _NAME, _DISTINCT_NODE, _NAMED_NODE, _STRINGS = 1, 2, 3, 4, 5, 10, 35
_UNNUMBERED = frozenset({6, 11, 36, 38, 39})  # kinds, attachments and the index
# Codes of constants.
_SETTYPE, _NULL, _INTEGER = 1, 2, 4
# More than any kernel needs; damaged metadata may be cyclic, or unfold without end.
_MAXIMUM_DEPTH = 32
_MAXIMUM_NODES = 100_000


@dataclass(frozen=True, slots=True)
class GlobalNumber:
    """A global variable or function, by its place among the module's."""

    number: int


# A node is a tuple; an absent operand, and a constant that is no integer, is None.
Node: TypeAlias = "tuple[Value, ...]"
Value: TypeAlias = "str | int | GlobalNumber | Node | None"


@dataclass(frozen=True, slots=True)
class Content:
    """A block's bytes and how to read them; two that are equal say the same."""

    data: bytes
    width: int
    abbreviations: tuple[Abbreviation, ...]


@functools.lru_cache(maxsize=512)
def named_nodes(
    metadata: tuple[Content, ...], constants: tuple[Content, ...], global_count: int
) -> dict[str, tuple[Node, ...]]:
    """AIR's named metadata of a module with those blocks and so many globals."""
    table = _Table(global_count)
    for content in constants:
        table.read_constants(content)
    for content in metadata:
        table.read_metadata(content)
    return {
        name: tuple(table.node(number) for number in numbers)
        for name, numbers in table.named.items()
        if name.startswith("air.")
    }


@functools.lru_cache(maxsize=256)
def _run(content: bytes, width: int, abbreviations: tuple[Abbreviation, ...]) -> list[Record]:
    return read_run(Bits(content), width, list(abbreviations))[0]


@dataclass
class _Table:
    """What each number stands for, worked out when a node asks for it."""

    global_count: int
    constants: list[int | None] = field(default_factory=list)  # numbered on from the globals
    strings: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)  # numbered on from the strings
    named: dict[str, Sequence[int]] = field(default_factory=dict)
    nodes: int = 0

    def read_constants(self, content: Content) -> None:
        for record in _run(content.data, content.width, content.abbreviations):
            if record.code == _SETTYPE:
                continue
            if record.code == _INTEGER:
                encoded = record.operands[0]  # the sign is in the lowest bit
                self.constants.append(-(encoded >> 1) if encoded & 1 else encoded >> 1)
            else:
                self.constants.append(0 if record.code == _NULL else None)

    def read_metadata(self, content: Content) -> None:
        bits = Bits(content.data)
        abbreviations = list(content.abbreviations)
        head, ended = read_run(bits, content.width, abbreviations, until=_STRINGS)
        if head and head[-1].code == _STRINGS:
            self.strings = _strings(head.pop())
        self.add(head)
        if not ended:
            # Strings end on a whole word; what follows is alike in even more kernels.
            rest = content.data[bits.position // 8 :]
            self.add(_run(rest, content.width, tuple(abbreviations)))

    def add(self, run: list[Record]) -> None:
        name = ""
        for record in run:
            if record.code == _NAME:
                name = bytes(record.operands).decode(errors="replace")
            elif record.code == _NAMED_NODE:
                self.named[name] = record.operands
            elif record.code not in _UNNUMBERED:
                self.records.append(record)

    def node(self, number: int) -> Node:
        found = self.metadata(number, 0)
        return found if isinstance(found, tuple) else (found,)

    def metadata(self, number: int, depth: int) -> Value:
        if number < len(self.strings):
            return self.strings[number]
        number -= len(self.strings)
        if number >= len(self.records):
            raise BitstreamError(f"metadata {number} is used but not defined")
        record = self.records[number]
        if record.code == _VALUE:
            return self.value(record.operands[1])
        if record.code == _STRING_OLD:
            return bytes(record.operands).decode(errors="replace")
        if record.code not in (_NODE, _DISTINCT_NODE):
            return None
        self.nodes += 1
        if depth > _MAXIMUM_DEPTH or self.nodes > _MAXIMUM_NODES:
            raise BitstreamError("metadata is nested too deeply")
        # An operand is stored plus one; 0 stands for an absent one.
        return tuple(
            self.metadata(operand - 1, depth + 1) if operand else None
            for operand in record.operands
        )

    def value(self, number: int) -> Value:
        if number < self.global_count:
            return GlobalNumber(number)
        number -= self.global_count
        return self.constants[number] if number < len(self.constants) else None


def _strings(record: Record) -> list[str]:
    """The string table: lengths in chunks of 6 bits, then, from an offset, the characters."""
    count, offset = record.operands[:2]
    blob = record.blob
    if offset > len(blob):
        raise BitstreamError(f"strings begin at {offset}, after {len(blob)} bytes")
    strings: list[str] = []
    for length in Bits(blob[:offset]).numbers(count):
        if offset + length > len(blob):
            raise BitstreamError(f"a string ends at {offset + length}, after {len(blob)} bytes")
        strings.append(blob[offset : offset + length].decode(errors="replace"))
        offset += length
    return strings
