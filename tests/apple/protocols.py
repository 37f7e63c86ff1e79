"""Objective-C protocols of a Mach-O file: selectors with the encodings of their types."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_UNIVERSAL = 0xCAFEBABE
_ARM64 = 0x0100000C
_SEGMENT_64 = 0x19
# Where a protocol keeps its four lists of methods: required and optional, of instances and classes.
_METHOD_LISTS = (24, 32, 40, 48)


def read_protocols(path: Path) -> dict[str, dict[str, str]]:
    """Each protocol's methods, for the arm64 part of a dylib or bundle."""
    return _MachO(path.read_bytes()).protocols()


class _MachO:
    def __init__(self, data: bytes) -> None:
        self._data = _arm64_part(data)
        self._segments: list[tuple[int, int, int]] = []  # address, offset in the file, size there
        self._sections: dict[str, tuple[int, int]] = {}  # offset, size
        self._read_commands()

    def protocols(self) -> dict[str, dict[str, str]]:
        offset, size = self._sections["__objc_protolist"]
        found = {}
        for at in range(offset, offset + size, 8):
            protocol = self._pointer(at)
            if protocol is not None:
                found[self._text(self._pointer(protocol + 8))] = dict(self._methods(protocol))
        return found

    def _read_commands(self) -> None:
        count = self._unpack("<I", 16)[0]
        at = 32
        for _ in range(count):
            command, size = self._unpack("<II", at)
            if command == _SEGMENT_64:
                address, _, offset, length = self._unpack("<4Q", at + 24)
                self._segments.append((address, offset, length))
                self._read_sections(at)
            at += size

    def _read_sections(self, segment: int) -> None:
        for index in range(self._unpack("<I", segment + 64)[0]):
            at = segment + 72 + 80 * index
            name = self._data[at : at + 16].rstrip(b"\0").decode()
            _, size, offset = self._unpack("<QQI", at + 32)
            self._sections[name] = offset, size

    def _methods(self, protocol: int) -> Iterator[tuple[str, str]]:
        for field in _METHOD_LISTS:
            listed = self._pointer(protocol + field)
            if listed is None:
                continue
            flags, count = self._unpack("<II", listed)
            for index in range(count):
                if flags & 0x80000000:  # three relative offsets a method
                    at = listed + 8 + 12 * index
                    name, types = self._unpack("<ii", at)
                    yield self._text(self._pointer(at + name)), self._text(at + 4 + types)
                else:
                    at = listed + 8 + (flags & 0xFFFC) * index
                    yield self._text(self._pointer(at)), self._text(self._pointer(at + 8))

    def _pointer(self, at: int) -> int | None:
        """The offset that the pointer at offset `at` leads to; None for null and for imports."""
        value = self._unpack("<Q", at)[0]
        if value == 0 or value >> 63:
            return None
        base = min(address for address, _, _ in self._segments)
        # Plain, or one of the two forms of chained fixups.
        for address in (value, value & 0xFFFFFFFFF, (value & 0xFFFFFFFFF) + base):
            for start, offset, size in self._segments:
                if start <= address < start + size:
                    return address - start + offset
        return None

    def _text(self, at: int | None) -> str:
        assert at is not None, "a name lies outside the file"
        return self._data[at : self._data.index(b"\0", at)].decode()

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(form, self._data, at)


def _arm64_part(data: bytes) -> bytes:
    magic, count = struct.unpack_from(">II", data)
    if magic != _UNIVERSAL:
        return data
    for index in range(count):
        kind, _, offset, size, _ = struct.unpack_from(">5I", data, 8 + 20 * index)
        if kind == _ARM64:
            return data[offset : offset + size]
    raise ValueError("no arm64 part")
