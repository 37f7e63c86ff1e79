"""Read from a module of LLVM bitcode what metalgen asks of it: named metadata and globals.

https://llvm.org/docs/LangRef.html and BitCodeFormat.html. Function bodies are not looked at, and
no LLVM is involved: LLVM ends the process on some damaged inputs, this raises.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from metalgen.air.bitstream import (
    BLOCKINFO,
    ENTER_SUBBLOCK,
    Abbreviation,
    Bits,
    BitstreamError,
    Block,
    Record,
    Standard,
    enter_block,
    items,
    read_run,
    records,
)
from metalgen.air.layout import Type, read_types
from metalgen.errors import MetallibError

_WRAPPER = struct.Struct("<5I")
_WRAPPER_MAGIC = 0x0B17C0DE
THREADGROUP_SPACE = 3
_RAW_MAGIC = b"BC\xc0\xde"
_MODULE, _CONSTANTS, _METADATA, _TYPES, _STRTAB = 8, 11, 15, 17, 23


@dataclass(frozen=True, slots=True)
class Global:
    """A global variable or function; of a threadgroup variable also how much memory it takes."""

    name: str
    threadgroup_bytes: int = 0
    alignment: int = 1  # bytes


# A metadata node is a tuple; an absent operand and anything not needed here is None.
Node: TypeAlias = "tuple[Value, ...]"
Value: TypeAlias = "str | int | Global | Node | None"


@dataclass(frozen=True, slots=True)
class Module:
    """The parts of a module that describe its kernels."""

    named: dict[str, list[Node]]  # named metadata, "air.kernel" and the like
    globals: tuple[Global, ...]


def read_module(bitcode: bytes) -> Module:
    """Read one module's named metadata and globals; raises MetallibError on damaged bitcode."""
    try:
        return _Reader(_unwrap(bitcode)).module()
    except (BitstreamError, IndexError, ValueError, OverflowError, MemoryError) as error:
        raise MetallibError(f"damaged bitcode: {error}") from None


def _unwrap(bitcode: bytes) -> bytes:
    """The bare bitstream, without the wrapper Apple's tools put in front."""
    if len(bitcode) >= _WRAPPER.size:
        magic, _, offset, size, _ = _WRAPPER.unpack_from(bitcode)
        if magic == _WRAPPER_MAGIC:
            if offset + size > len(bitcode):
                raise BitstreamError(f"wrapper claims {offset + size} bytes, found {len(bitcode)}")
            bitcode = bitcode[offset : offset + size]
    if bitcode[:4] != _RAW_MAGIC:
        raise BitstreamError(f"expected LLVM bitcode, found bytes {bitcode[:4].hex(' ')!r}")
    return bitcode


@functools.lru_cache(maxsize=64)
def _standard(content: bytes, width: int) -> Standard:
    """What a BLOCKINFO block defines; every module of one compiler has the same few."""
    standard = Standard()
    standard.read(content, Block(BLOCKINFO, 0, len(content), width))
    return standard


# Kernels instantiated from one template differ in names and function bodies, and share the rest:
# in a file of thousands four blocks in five were read before.
@functools.lru_cache(maxsize=256)
def _types(content: bytes, width: int) -> tuple[Type, ...]:
    return read_types(records(content, Block(_TYPES, 0, len(content), width), Standard()))


@functools.lru_cache(maxsize=256)
def _run(content: bytes, width: int, abbreviations: tuple[Abbreviation, ...]) -> list[Record]:
    return read_run(Bits(content), width, list(abbreviations))[0]


# Module records that define a value, and so take the next number, and constants' codes.
_GLOBALVAR, _FUNCTION, _ALIAS, _IFUNC, _OLD_ALIAS = 7, 8, 14, 15, 9
_VERSION = 1
_SETTYPE, _NULL, _INTEGER = 1, 2, 4
_EXPLICIT_TYPE = 2


@dataclass
class _Metadata:
    """The raw metadata table: what number `i` means is worked out when a node asks for it."""

    strings: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)  # numbered on from the strings
    named: dict[str, Sequence[int]] = field(default_factory=dict)


# Metadata records: https://llvm.org/docs/BitCodeFormat.html and LLVMBitCodes.h.
_STRING_OLD, _VALUE, _NODE, _NAME, _DISTINCT_NODE, _NAMED_NODE, _STRINGS = 1, 2, 3, 4, 5, 10, 35
_UNNUMBERED = frozenset({6, 11, 36, 38, 39})  # kinds, attachments and the index
# More than any kernel needs; damaged metadata may be cyclic, or unfold without end.
_MAXIMUM_DEPTH = 32
_MAXIMUM_NODES = 100_000


class _Reader:
    """One pass over one module; what it finds is resolved at the end, when all names are known."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.strtab = b""
        self.standard = Standard()
        self.type_table: Block | None = None
        self.globals: list[Record] = []
        self.constants: list[int | None] = []
        self.metadata = _Metadata()
        self.nodes = 0

    def module(self) -> Module:
        module = None
        for block in self._top_level():
            if block.id == _MODULE and module is None:
                module = block
                self._read_module(block)
            elif block.id == _STRTAB:
                for record in records(self.data, block, Standard()):
                    self.strtab = record.blob
        if module is None:
            raise BitstreamError("expected a module, found none")
        return self._resolve()

    def _top_level(self) -> Iterator[Block]:
        start = len(_RAW_MAGIC)
        while start + 8 <= len(self.data):
            if self.data[start] & 3 != ENTER_SUBBLOCK:
                raise BitstreamError(f"expected a block at offset {start}")
            block = enter_block(self.data, start, len(self.data), position=2)
            yield block
            start = block.end

    def _read_module(self, module: Block) -> None:
        for item in items(self.data, module, self.standard):
            if isinstance(item, Record):
                self._read_module_record(item)
            elif item.id == BLOCKINFO:
                self.standard.by_block.update(
                    _standard(self.data[item.start : item.end], item.width).by_block
                )
            elif item.id == _TYPES:
                self.type_table = item
            elif item.id == _CONSTANTS:
                self._read_constants(item)
            elif item.id == _METADATA:
                self._read_metadata(item)

    def _read_module_record(self, record: Record) -> None:
        if record.code in (_GLOBALVAR, _FUNCTION, _ALIAS, _IFUNC, _OLD_ALIAS):
            self.globals.append(record)
        elif record.code == _VERSION and record.operands[0] < 2:
            raise BitstreamError(
                f"expected module version 2 (LLVM 5 or newer), found {record.operands[0]}"
            )

    def _read_constants(self, block: Block) -> None:
        abbreviations = tuple(self.standard.by_block.get(_CONSTANTS, ()))
        for record in _run(self.data[block.start : block.end], block.width, abbreviations):
            if record.code == _SETTYPE:
                continue
            if record.code == _INTEGER:
                encoded = record.operands[0]  # the sign is in the lowest bit
                self.constants.append(-(encoded >> 1) if encoded & 1 else encoded >> 1)
            else:
                self.constants.append(0 if record.code == _NULL else None)

    def _read_metadata(self, block: Block) -> None:
        content = self.data[block.start : block.end]
        bits = Bits(content)
        abbreviations = list(self.standard.by_block.get(_METADATA, ()))
        head, ended = read_run(bits, block.width, abbreviations, until=_STRINGS)
        if head and head[-1].code == _STRINGS:
            self.metadata.strings = _strings(head.pop())
        self._add_metadata(head)
        if not ended:
            # Strings end on a whole word; what follows is alike in many kernels.
            rest = content[bits.position // 8 :]
            self._add_metadata(_run(rest, block.width, tuple(abbreviations)))

    def _add_metadata(self, run: list[Record]) -> None:
        table = self.metadata
        name = ""
        for record in run:
            if record.code == _NAME:
                name = bytes(record.operands).decode(errors="replace")
            elif record.code == _NAMED_NODE:
                table.named[name] = record.operands
            elif record.code not in _UNNUMBERED:
                table.records.append(record)

    def _resolve(self) -> Module:
        self.resolved_globals = tuple(self._global(record) for record in self.globals)
        named: dict[str, list[Node]] = {}
        for name, numbers in self.metadata.named.items():
            if name.startswith("air."):
                named[name] = [self._node(number) for number in numbers]
        return Module(named, self.resolved_globals)

    def _global(self, record: Record) -> Global:
        offset, length = record.operands[:2]
        if offset + length > len(self.strtab):
            raise BitstreamError(f"a global's name ends at {offset + length}, after the strings")
        name = self.strtab[offset : offset + length].decode(errors="replace")
        if record.code != _GLOBALVAR:
            return Global(name)
        flags, alignment = record.operands[3], record.operands[6]
        if not flags & _EXPLICIT_TYPE or flags >> 2 != THREADGROUP_SPACE:
            return Global(name)
        kind = self._type(record.operands[2])
        # The alignment is stored as its logarithm plus one; 0 leaves it to the type.
        aligned = 1 << min(alignment - 1, 32) if alignment else kind.alignment
        return Global(name, kind.size, aligned)

    def _type(self, number: int) -> Type:
        """Types are read only for threadgroup variables, which few kernels have."""
        table = self.type_table
        types = _types(self.data[table.start : table.end], table.width) if table else ()
        if number >= len(types):
            raise BitstreamError(f"type {number} is used but not defined")
        return types[number]

    def _node(self, number: int) -> Node:
        found = self._metadata_value(number, 0)
        return found if isinstance(found, tuple) else (found,)

    def _metadata_value(self, number: int, depth: int) -> Value:
        table = self.metadata
        if number < len(table.strings):
            return table.strings[number]
        number -= len(table.strings)
        if number >= len(table.records):
            raise BitstreamError(f"metadata {number} is used but not defined")
        record = table.records[number]
        if record.code == _VALUE:
            return self._value(record.operands[1])
        if record.code == _STRING_OLD:
            return bytes(record.operands).decode(errors="replace")
        if record.code not in (_NODE, _DISTINCT_NODE):
            return None
        self.nodes += 1
        if depth > _MAXIMUM_DEPTH or self.nodes > _MAXIMUM_NODES:
            raise BitstreamError("metadata is nested too deeply")
        # An operand is stored plus one; 0 stands for an absent one.
        return tuple(
            self._metadata_value(operand - 1, depth + 1) if operand else None
            for operand in record.operands
        )

    def _value(self, number: int) -> Value:
        if number < len(self.resolved_globals):
            return self.resolved_globals[number]
        number -= len(self.resolved_globals)
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
