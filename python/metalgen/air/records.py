"""The tagged records of a metallib: 4 letters, a length, data, until `ENDT`; read and written."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from metalgen.errors import MetallibError

Buffer = bytes | bytearray | memoryview

_LENGTH = struct.Struct("<H")
_SIZE = struct.Struct("<I")
# A function record's size counts itself.
MINIMUM_RECORD = _SIZE.size + len(b"ENDT")


def unpack(layout: struct.Struct, data: Buffer, offset: int, what: str) -> tuple[Any, ...]:
    """The fields of `layout` at `offset`; MetallibError where the file ends before them."""
    if offset < 0 or offset + layout.size > len(data):
        raise MetallibError(
            f"damaged metallib: expected {layout.size} bytes of {what} at offset {offset}, "
            f"found the end at {len(data)}"
        )
    return layout.unpack_from(data, offset)


def read_tags(data: Buffer, offset: int, end: int, what: str) -> tuple[dict[bytes, bytes], int]:
    """The tags from `offset` to `ENDT`, and the offset behind it."""
    tags: dict[bytes, bytes] = {}
    while True:
        tag = bytes(data[offset : offset + 4])
        offset += 4
        if tag == b"ENDT" and offset <= end:
            return tags, offset
        if offset + _LENGTH.size > end:
            raise MetallibError(f"damaged metallib: {what} has no ENDT before offset {end}")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if offset + length > end:
            raise MetallibError(
                f"damaged metallib: tag {tag!r} of {what} claims {length} bytes, "
                f"found {end - offset}"
            )
        tags[tag] = bytes(data[offset : offset + length])
        offset += length


def read_record(data: Buffer, offset: int, end: int, what: str) -> tuple[dict[bytes, bytes], int]:
    """One record with its size in front, and the offset of what follows it."""
    (size,) = unpack(_SIZE, data, offset, what)
    if size < MINIMUM_RECORD or offset + size > end:
        raise MetallibError(
            f"damaged metallib: {what} claims {size} bytes, "
            f"expected {MINIMUM_RECORD} to {end - offset}"
        )
    tags, behind = read_tags(data, offset + _SIZE.size, offset + size, what)
    if behind != offset + size:
        raise MetallibError(
            f"damaged metallib: {what} claims {size} bytes but ends after {behind - offset}"
        )
    return tags, behind


def write_tags(tags: Iterable[tuple[bytes, bytes]]) -> bytes:
    """`tags` and the closing `ENDT`."""
    parts = [tag + _LENGTH.pack(len(data)) + data for tag, data in tags]
    return b"".join(parts) + b"ENDT"


def write_record(tags: Iterable[tuple[bytes, bytes]], *, counts_itself: bool = True) -> bytes:
    """`tags` with their size in front, which counts its own 4 bytes or not."""
    body = write_tags(tags)
    return _SIZE.pack(len(body) + (_SIZE.size if counts_itself else 0)) + body
