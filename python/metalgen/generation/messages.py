"""What a worker and its parent say to each other: JSON objects, each after its length.

The child's side is not trusted: nothing of it is unpickled, and a message has a size limit.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

MAX_BYTES = 256 << 20
_LENGTH = struct.Struct("<I")


def write_message(stream: BinaryIO, message: Mapping[str, Any]) -> None:
    """Send one object."""
    data = json.dumps(message).encode()
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """The next object, or None once the other side is gone."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    data = stream.read(_LENGTH.unpack(header)[0])
    return decoded(data) if len(data) == _LENGTH.unpack(header)[0] else None


def split_message(data: bytearray) -> dict[str, Any] | None:
    """Take the first whole message off `data`, or None where it is not complete yet.

    Raises ValueError for what cannot be a message.
    """
    if len(data) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(data)
    if length > MAX_BYTES:
        raise ValueError(f"a message of {length} bytes")
    end = _LENGTH.size + length
    if len(data) < end:
        return None
    body = bytes(data[_LENGTH.size : end])
    del data[:end]
    return decoded(body)


def decoded(body: bytes) -> dict[str, Any]:
    """The object; ValueError for anything else."""
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a message that is not an object")
    return message
