"""Read from a module of LLVM bitcode what metalgen asks of it: named metadata and globals.

https://llvm.org/docs/LangRef.html and BitCodeFormat.html. Function bodies are not looked at, and
no LLVM is involved: LLVM ends the process on some damaged inputs, this raises.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.air.bits import BitstreamError, Record
from metalgen.air.bitstream import (
    BLOCKINFO,
    ENTER_SUBBLOCK,
    Block,
    Standard,
    enter_block,
    items,
    records,
)
from metalgen.air.layout import Type, read_types
from metalgen.air.nodes import Content, Node, named_nodes
from metalgen.errors import MetallibError

_WRAPPER = struct.Struct("<5I")
_WRAPPER_MAGIC = 0x0B17C0DE
_RAW_MAGIC = b"BC\xc0\xde"
_MODULE, _CONSTANTS, _METADATA, _TYPES, _STRTAB = 8, 11, 15, 17, 23
# Module records that define a value, and so take the next number.
_VERSION, _GLOBALVAR, _FUNCTION, _ALIAS, _OLD_ALIAS, _IFUNC = 1, 7, 8, 14, 9, 15
_EXPLICIT_TYPE = 2
THREADGROUP_SPACE = 3


@dataclass(frozen=True, slots=True)
class Global:
    """A global variable or function; of a threadgroup variable also how much memory it takes."""

    name: str
    threadgroup_bytes: int = 0
    alignment: int = 1  # bytes


@dataclass(frozen=True, slots=True)
class Module:
    """The parts of a module that describe its kernels."""

    named: dict[str, tuple[Node, ...]]  # named metadata, "air.kernel" and the like
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


@functools.lru_cache(maxsize=256)
def _types(content: bytes, width: int) -> tuple[Type, ...]:
    return read_types(records(content, Block(_TYPES, 0, len(content), width), Standard()))


class _Reader:
    """One pass over one module; what it finds is resolved at the end, when all names are known."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.strtab = b""
        self.standard = Standard()
        self.type_table: Block | None = None
        self.globals: list[Record] = []
        self.constants: list[Content] = []
        self.metadata: list[Content] = []

    def module(self) -> Module:
        has_module = False
        for block in self._top_level():
            if block.id == _MODULE and not has_module:
                has_module = True
                self._read_module(block)
            elif block.id == _STRTAB:
                for record in records(self.data, block, Standard()):
                    self.strtab = record.blob
        if not has_module:
            raise BitstreamError("expected a module, found none")
        return Module(
            named_nodes(tuple(self.metadata), tuple(self.constants), len(self.globals)),
            tuple(self._global(record) for record in self.globals),
        )

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
                self._read_record(item)
            elif item.id == BLOCKINFO:
                self.standard = _standard(self.data[item.start : item.end], item.width)
            elif item.id == _TYPES:
                self.type_table = item
            elif item.id == _CONSTANTS:
                self.constants.append(self._content(item))
            elif item.id == _METADATA:
                self.metadata.append(self._content(item))

    def _content(self, block: Block) -> Content:
        abbreviations = tuple(self.standard.by_block.get(block.id, ()))
        return Content(self.data[block.start : block.end], block.width, abbreviations)

    def _read_record(self, record: Record) -> None:
        if record.code in (_GLOBALVAR, _FUNCTION, _ALIAS, _IFUNC, _OLD_ALIAS):
            self.globals.append(record)
        elif record.code == _VERSION and record.operands[0] < 2:
            raise BitstreamError(
                f"expected module version 2 (LLVM 5 or newer), found {record.operands[0]}"
            )

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
