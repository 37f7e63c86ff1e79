"""Read a `.metallib`: nothing is loaded or decoded before it is asked for."""

from __future__ import annotations

import difflib
import hashlib
import os
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from metalgen.air.bitcode import read_module
from metalgen.air.kernel_info import Function, KernelInfo
from metalgen.air.metadata import kernel_info
from metalgen.air.records import read_record, unpack
from metalgen.errors import MetallibError

MAGIC = b"MTLB"
KERNEL_TYPE = 2  # 0 is a vertex function, 1 a fragment function

# magic, platform, file version (2), library type, operating system, its version (2), file size,
# then (offset, size) of function list, public metadata, private metadata and bitcode.
HEADER = struct.Struct("<4s3H2B2H9Q")
COUNT = struct.Struct("<I")
OFFSETS = struct.Struct("<3Q")
VERSIONS = struct.Struct("<4H")
BITCODE_SIZE = struct.Struct("<Q")
_RECORD_HEAD = struct.Struct("<I4sH")  # size, first tag, length of its data

Read = Callable[[int, int], bytes]  # (offset, size) -> at most `size` bytes


@dataclass(frozen=True, slots=True)
class Header:
    """Where a metallib keeps what; offsets from the container's first byte."""

    file_version: tuple[int, int]
    os_version: tuple[int, int]
    size: int
    functions: tuple[int, int]
    bitcode: tuple[int, int]


def read_header(data: bytes, available: int) -> Header:
    """Check and decode a header; raises MetallibError where it is not one or does not fit."""
    if data[:4] != MAGIC:
        raise MetallibError(f"not a metallib: expected 'MTLB' at the start, found {data[:4]!r}")
    fields = unpack(HEADER, data, 0, "header")
    size, *sections = fields[8:]
    if size > available:
        raise MetallibError(f"truncated metallib: expected {size} bytes, found {available}")
    for offset, length in zip(sections[::2], sections[1::2], strict=True):
        if offset < HEADER.size or offset + length > size:
            raise MetallibError(
                f"damaged metallib: expected a section within {HEADER.size} to {size}, "
                f"found {offset} to {offset + length}"
            )
    return Header(
        file_version=(fields[2], fields[3]),
        os_version=(fields[6], fields[7]),
        size=size,
        functions=(sections[0], sections[1]),
        bitcode=(sections[6], sections[7]),
    )


class Metallib:
    """The kernels of one metallib; opening reads 88 bytes, `names` the list of functions."""

    def __init__(self, data: bytes, *, origin: str = "<bytes>") -> None:
        self.path: str | None = None
        self.offset = 0
        self._open(lambda offset, size: data[offset : offset + size], len(data), origin)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, offset: int = 0) -> Metallib:
        """The metallib at `offset` of a file, which stays open as long as the object lives."""
        try:
            # Not waiting for the other end, should it be a pipe; reading that then fails.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MetallibError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
        self = cls.__new__(cls)
        weakref.finalize(self, os.close, descriptor)
        self.path, self.offset = os.fspath(path), offset
        try:
            size = os.fstat(descriptor).st_size - offset
            self._open(lambda at, n: os.pread(descriptor, n, offset + at), size, os.fspath(path))
        except OSError as error:
            raise MetallibError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
        return self

    def _open(self, read: Read, available: int, origin: str) -> None:
        self.origin = origin
        self._read = read
        with self._named():
            self.header = read_header(read(0, HEADER.size), available)

    @contextmanager
    def _named(self, kernel: str | None = None) -> Iterator[None]:
        """Say in every error which file, and which of its kernels, it is about."""
        try:
            yield
        except MetallibError as error:
            of_kernel = f"kernel '{kernel}': " if kernel else ""
            raise MetallibError(f"{self.origin}: {of_kernel}{error}") from None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The kernels' names, in the file's order."""
        return tuple(self._records)

    def kernel(self, name: str) -> KernelInfo:
        """What the metallib says about one kernel."""
        bitcode = self.bitcode(name)
        with self._named(name):
            return kernel_info(read_module(bitcode), name)

    def bitcode(self, name: str) -> bytes:
        """One kernel's module of AIR, its checksum verified."""
        return self.function(name).bitcode

    def function(self, name: str) -> Function:
        """One kernel with its bitcode and versions; raises MetallibError if there is none."""
        start, end = self._find(name)
        with self._named(name):
            tags, _ = read_record(self._list, start, end, "function record")
            (*_, offset) = unpack(OFFSETS, _tag(tags, b"OFFT"), 0, "tag OFFT")
            (size,) = unpack(BITCODE_SIZE, _tag(tags, b"MDSZ"), 0, "tag MDSZ")
            air_major, air_minor, major, minor = unpack(
                VERSIONS, _tag(tags, b"VERS"), 0, "tag VERS"
            )
            bitcode = self._read_bitcode(offset, size, _tag(tags, b"HASH"))
            return Function(name, bitcode, (air_major, air_minor), (major, minor))

    def functions(self) -> Iterator[Function]:
        """Every kernel with its bitcode, one after the other."""
        return map(self.function, self.names)

    def _find(self, name: str) -> tuple[int, int]:
        found = self._records.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.names, n=3)
            hint = f"; similar: {', '.join(near)}" if near else ""
            raise MetallibError(
                f"{self.origin}: no kernel '{name}' among its {len(self.names)}{hint}"
            )
        return found

    def _read_bitcode(self, offset: int, size: int, checksum: bytes) -> bytes:
        start, length = self.header.bitcode
        if offset + size > length:
            raise MetallibError(
                f"damaged metallib: bitcode claims bytes {offset} to {offset + size} "
                f"of a section of {length}"
            )
        bitcode = self._read(start + offset, size)
        if hashlib.sha256(bitcode).digest() != checksum:
            raise MetallibError("damaged metallib: bitcode does not match its checksum")
        return bitcode

    @cached_property
    def _list(self) -> bytes:
        """The function list: a count, then records; the section's size leaves out the count."""
        offset, size = self.header.functions
        return self._read(offset, COUNT.size + size)

    @cached_property
    def _records(self) -> dict[str, tuple[int, int]]:
        """Where each kernel's record starts and ends; nothing but the names is decoded."""
        data = self._list
        records: dict[str, tuple[int, int]] = {}
        with self._named():
            (count,) = unpack(COUNT, data, 0, "function list")
            start = COUNT.size
            for number in range(count):
                what = f"record {number + 1} of {count}"
                size, tag, length = unpack(_RECORD_HEAD, data, start, what)
                end = start + size
                if size < _RECORD_HEAD.size or end > len(data):
                    raise MetallibError(
                        f"damaged metallib: {what} claims {size} bytes, found {len(data) - start}"
                    )
                name_at = start + _RECORD_HEAD.size
                raw = data[name_at : name_at + length] if tag == b"NAME" else b""
                if not raw.endswith(b"\0") or name_at + length > end:
                    raise MetallibError(f"damaged metallib: {what} has no name")
                if _KERNEL_TAG in data[name_at + length : end]:
                    records.setdefault(_text(raw[:-1], what), (start, end))
                start = end
        return records


# TYPE, one byte, compute.
_KERNEL_TAG = b"TYPE\x01\x00" + bytes([KERNEL_TYPE])


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MetallibError(f"damaged metallib: the name of {what} is not UTF-8") from None


def _tag(tags: dict[bytes, bytes], tag: bytes) -> bytes:
    if tag not in tags:
        raise MetallibError(f"damaged metallib: expected tag {tag.decode()}, found none")
    return tags[tag]
