"""Metal's types as buffers hold them: which tensors fit, and how Python values are packed.

Layouts are those of the Metal Shading Language Specification, section 2: vectors of three take the
room of four unless packed, matrices are columns of vectors.
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from metalgen.errors import LaunchError

Number = bool | int | float


@dataclass(frozen=True, slots=True)
class ScalarType:
    """One of Metal's scalars; `dtypes` disregard signedness, as torch has few unsigned types."""

    name: str
    size: int  # bytes
    dtypes: frozenset[torch.dtype]
    is_float: bool
    pack: Callable[[Number], bytes]  # raises LaunchError on what does not fit
    # How the native core packs plain numbers without asking `pack`, in struct's letters.
    code: str = "\0"


@dataclass(frozen=True, slots=True)
class ValueType:
    """A scalar, vector or matrix: `columns` of `rows` scalars, each column `stride` bytes long."""

    name: str
    scalar: ScalarType
    rows: int = 1
    columns: int = 1
    stride: int = 0  # bytes

    @property
    def size(self) -> int:
        """Bytes of one value, padding included."""
        return self.stride * self.columns

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        """Tensors whose elements may stand for (parts of) such values."""
        if self.rows == 2 and self.columns == 1:
            return self.scalar.dtypes | _COMPLEX.get(self.scalar.name, frozenset())
        return self.scalar.dtypes

    def pack(self, numbers: Sequence[Number]) -> bytes:
        """One value from its scalars, column by column; raises LaunchError on a wrong count."""
        if len(numbers) != self.rows * self.columns:
            raise LaunchError(
                f"expected {self.rows * self.columns} numbers for {self.name}, found {len(numbers)}"
            )
        packed = [self.scalar.pack(number) for number in numbers]
        columns = (packed[at : at + self.rows] for at in range(0, len(packed), self.rows))
        return b"".join(b"".join(column).ljust(self.stride, b"\0") for column in columns)


def _pack_integer(name: str, size: int, signed: bool) -> Callable[[Number], bytes]:
    values = 1 << 8 * size
    low, high = (-values // 2, values // 2 - 1) if signed else (0, values - 1)

    def pack(number: Number) -> bytes:
        if isinstance(number, float) and not number.is_integer():
            raise LaunchError(f"expected an integer for {name}, found {number}")
        whole = int(number)
        if not low <= whole <= high:
            raise LaunchError(f"expected {low} to {high} for {name}, found {whole}")
        return whole.to_bytes(size, "little", signed=signed)

    return pack


def _pack_float(name: str, code: str) -> Callable[[Number], bytes]:
    layout = struct.Struct(f"<{code}")

    def pack(number: Number) -> bytes:
        try:
            return layout.pack(number)
        except (OverflowError, struct.error):
            raise LaunchError(f"{number} is too large for {name}") from None

    return pack


def _pack_bfloat(number: Number) -> bytes:
    bits = int.from_bytes(_pack_float("bfloat", "f")(number), "little")
    if number != number:  # rounding could turn a NaN's bits into infinity
        return b"\xc0\x7f"
    rounded = bits + 0x7FFF + (bits >> 16 & 1) >> 16
    return (rounded & 0xFFFF).to_bytes(2, "little")


def _pack_bool(number: Number) -> bytes:
    if number not in (0, 1):
        raise LaunchError(f"expected a bool, found {number}")
    return b"\1" if number else b"\0"


_COMPLEX: dict[str, frozenset[torch.dtype]] = {
    "float": frozenset({torch.complex64}),
    "half": frozenset({torch.complex32}),
}


def _integer(name: str, code: str, dtypes: tuple[torch.dtype, ...]) -> ScalarType:
    size = struct.calcsize(f"<{code}")
    pack = _pack_integer(name, size, signed=code.islower())
    return ScalarType(name, size, frozenset(dtypes), False, pack, code)


def _float(name: str, code: str, dtype: torch.dtype) -> ScalarType:
    size = struct.calcsize(f"<{code}")
    pack = _pack_float(name, code)
    return ScalarType(name, size, frozenset({dtype}), True, pack, code)


def _scalars() -> dict[str, ScalarType]:
    bits8, bits16 = (torch.int8, torch.uint8, torch.bool), (torch.int16, torch.uint16)
    bits32, bits64 = (torch.int32, torch.uint32), (torch.int64, torch.uint64)
    types = [
        _float("float", "f", torch.float32),
        _float("half", "e", torch.float16),
        ScalarType("bfloat", 2, frozenset({torch.bfloat16}), True, _pack_bfloat),
        ScalarType("bool", 1, frozenset({torch.bool}), False, _pack_bool),
        *(_integer(name, code, bits8) for name, code in (("char", "b"), ("uchar", "B"))),
        *(_integer(name, code, bits16) for name, code in (("short", "h"), ("ushort", "H"))),
        *(_integer(name, code, bits32) for name, code in (("int", "i"), ("uint", "I"))),
        *(_integer(name, code, bits64) for name, code in (("long", "q"), ("ulong", "Q"))),
    ]
    return {type.name: type for type in types}


SCALARS = _scalars()
_ALIASES = {
    "int8_t": "char", "uint8_t": "uchar", "int16_t": "short", "uint16_t": "ushort",
    "int32_t": "int", "uint32_t": "uint", "int64_t": "long", "uint64_t": "ulong",
    "size_t": "ulong", "ptrdiff_t": "long", "float16_t": "half", "float32_t": "float",
    "bfloat16_t": "bfloat", "_Bool": "bool", "atomic_int": "int", "atomic_uint": "uint",
    "atomic_float": "float", "atomic_bool": "bool", "atomic_ulong": "ulong",
}  # fmt: skip
_SHAPED = re.compile(r"(packed_)?([a-z]+?)([234])(?:x([234]))?")


@functools.cache
def value_type(name: str) -> ValueType | None:
    """The type that Metal calls `name`; None for structs and all else that has no dtype."""
    name = name.removeprefix("metal::")
    name = _ALIASES.get(name, name)
    if name in SCALARS:
        return ValueType(name, SCALARS[name], stride=SCALARS[name].size)
    shaped = _SHAPED.fullmatch(name)
    if shaped is None or shaped[2] not in SCALARS:
        return None
    # float4x3: four columns of three rows.
    columns, rows = (int(shaped[3]), int(shaped[4])) if shaped[4] else (1, int(shaped[3]))
    scalar = SCALARS[shaped[2]]
    stride = scalar.size * (4 if rows == 3 and not shaped[1] else rows)
    return ValueType(name, scalar, rows=rows, columns=columns, stride=stride)
