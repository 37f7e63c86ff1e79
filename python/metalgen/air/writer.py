"""Write a `.metallib`, in the form of Apple's own for macOS 14 (container version 2.7).

Newer containers add a section of reflection data that restates each kernel's metadata; Metal reads
files without it, and the form written here can be checked byte for byte against Apple's.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence

from metalgen.air.bitcode import read_module
from metalgen.air.kernel_info import Function, FunctionConstant
from metalgen.air.metadata import kernel_info
from metalgen.air.metallib import (
    BITCODE_SIZE,
    COUNT,
    HEADER,
    KERNEL_TYPE,
    MAGIC,
    OFFSETS,
    VERSIONS,
)
from metalgen.air.records import write_record, write_tags
from metalgen.errors import MetallibError, UnsupportedError

_MACOS_PLATFORM = 0x8001
_FILE_VERSION = (2, 7)
_EXECUTABLE = 0
_MACOS = 0x81
# The first macOS that runs each version of AIR.
_MACOS_OF_AIR = {(2, 4): 12, (2, 5): 13, (2, 6): 14, (2, 7): 15, (2, 8): 26}

# MTLDataType of the scalars a function constant can have; vectors of 2 to 4 follow each.
_DATA_TYPES = {
    "float": 3,
    "half": 16,
    "int": 29,
    "uint": 33,
    "short": 37,
    "ushort": 41,
    "char": 45,
    "uchar": 49,
    "bool": 53,
    "long": 81,
    "ulong": 85,
    "bfloat": 121,
}
_CONSTANT = struct.Struct("<BHB")  # data type, index, 1


def write_metallib(functions: Iterable[Function]) -> bytes:
    """The bytes of a metallib holding `functions`; raises MetallibError on repeated names."""
    functions = tuple(functions)
    _check_names(functions)
    public = [_metadata_record(_public_tags(function)) for function in functions]
    private = [_metadata_record([]) for _ in functions]
    bitcode = [function.bitcode for function in functions]
    records: list[bytes] = []
    offsets = (0, 0, 0)
    for function, *parts in zip(functions, public, private, bitcode, strict=True):
        records.append(_function_record(function, offsets))
        offsets = (
            offsets[0] + len(parts[0]),
            offsets[1] + len(parts[1]),
            offsets[2] + len(parts[2]),
        )
    listed = b"".join(records)
    # The section's size leaves out the count in front and the header's extension, which is empty.
    function_list = COUNT.pack(len(functions)) + listed + write_tags(())
    body = (function_list, b"".join(public), b"".join(private), b"".join(bitcode))
    return _header(functions, body, len(listed)) + b"".join(body)


def _check_names(functions: Sequence[Function]) -> None:
    seen: set[str] = set()
    for function in functions:
        if function.name in seen:
            raise MetallibError(f"two kernels are named '{function.name}': rename one")
        if not function.name or "\0" in function.name:
            raise MetallibError(f"a kernel cannot be named {function.name!r}")
        seen.add(function.name)


def _header(functions: Sequence[Function], body: Sequence[bytes], listed: int) -> bytes:
    air_version = max((function.air_version for function in functions), default=(2, 6))
    sections: list[int] = []
    offset = HEADER.size
    for part in body:
        sections += [offset, len(part)]
        offset += len(part)
    sections[1] = listed
    return HEADER.pack(
        MAGIC,
        _MACOS_PLATFORM,
        *_FILE_VERSION,
        _EXECUTABLE,
        _MACOS,
        _macos_version(air_version),
        0,
        offset,
        *sections,
    )


def _macos_version(air_version: tuple[int, int]) -> int:
    if air_version not in _MACOS_OF_AIR:
        known = ", ".join(f"{major}.{minor}" for major, minor in _MACOS_OF_AIR)
        raise MetallibError(f"expected AIR version {known}, found {air_version}")
    return _MACOS_OF_AIR[air_version]


def _function_record(function: Function, offsets: tuple[int, int, int]) -> bytes:
    return write_record(
        (
            (b"NAME", function.name.encode() + b"\0"),
            (b"TYPE", bytes([KERNEL_TYPE])),
            (b"HASH", hashlib.sha256(function.bitcode).digest()),
            (b"MDSZ", BITCODE_SIZE.pack(len(function.bitcode))),
            (b"OFFT", OFFSETS.pack(*offsets)),
            (b"VERS", VERSIONS.pack(*function.air_version, *function.language_version)),
        )
    )


def _metadata_record(tags: list[tuple[bytes, bytes]]) -> bytes:
    # Unlike the function list's, and unlike those of later versions.
    return write_record(tags, counts_itself=False)


def _public_tags(function: Function) -> list[tuple[bytes, bytes]]:
    """The function constants, which a device reads without looking into the bitcode."""
    constants = kernel_info(read_module(function.bitcode), function.name).constants
    if not constants:
        return []
    entries = b"".join(_constant_entry(constant) for constant in constants)
    return [(b"CNST", struct.pack("<H", len(constants)) + entries)]


def _constant_entry(constant: FunctionConstant) -> bytes:
    scalar, width = constant.type_name, 1
    if scalar[-1:] in ("2", "3", "4"):
        scalar, width = scalar[:-1], int(scalar[-1])
    if scalar not in _DATA_TYPES:
        raise UnsupportedError(
            f"not supported: function constant '{constant.name}' of type {constant.type_name}"
        )
    data_type = _DATA_TYPES[scalar] + width - 1
    return constant.name.encode() + b"\0" + _CONSTANT.pack(data_type, constant.index, 1)
