"""Metal's types as NumPy computes with them: one row per thread, vectors a column per component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Scalar:
    """A scalar type of Metal and the NumPy type that holds its values (bfloat's in float32)."""

    name: str
    dtype: np.dtype
    bits: int

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def is_bool(self) -> bool:
        return self.dtype.kind == "b"

    @property
    def is_integer(self) -> bool:
        return self.dtype.kind in "iu"

    @property
    def wide(self) -> Scalar:
        """The unsigned type in which sums and products of this one wrap around."""
        return ULONG if self.bits == 64 else UINT


def _scalar(name: str, dtype: str, bits: int) -> Scalar:
    return Scalar(name, np.dtype(dtype), bits)


BOOL = _scalar("bool", "bool", 8)
UCHAR = _scalar("uchar", "uint8", 8)
CHAR = _scalar("char", "int8", 8)
USHORT = _scalar("ushort", "uint16", 16)
SHORT = _scalar("short", "int16", 16)
UINT = _scalar("uint", "uint32", 32)
INT = _scalar("int", "int32", 32)
ULONG = _scalar("ulong", "uint64", 64)
LONG = _scalar("long", "int64", 64)
HALF = _scalar("half", "float16", 16)
BFLOAT = _scalar("bfloat", "float32", 16)
FLOAT = _scalar("float", "float32", 32)
INTEGERS = (UCHAR, CHAR, USHORT, SHORT, UINT, INT, ULONG, LONG)
FLOATS = (HALF, BFLOAT, FLOAT)
SCALARS = (BOOL, *INTEGERS, *FLOATS)


@dataclass(frozen=True)
class Type:
    """A scalar (`width` 1) or a vector."""

    scalar: Scalar
    width: int = 1

    def __str__(self) -> str:
        return self.scalar.name + (str(self.width) if self.width > 1 else "")

    def of(self, scalar: Scalar) -> Type:
        """As many components of another type."""
        return Type(scalar, self.width)


def converted(values: Array, target: Scalar) -> Array:
    """`values` as Metal converts them; floats must fit into the integers they become."""
    with np.errstate(over="ignore", invalid="ignore"):
        if target is BFLOAT:
            return rounded_to_bfloat(values.astype(np.float32))
        return values.astype(target.dtype)


def rounded_to_bfloat(values: Array) -> Array:
    """float32 values with the 16 low bits rounded away, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF).astype(np.uint32)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(values), np.float32(np.nan), rounded.view(np.float32))


def words(values: Array, scalar: Scalar) -> list[Array]:
    """The 32-bit words by which a kernel hands out one component of its result."""
    if scalar is BFLOAT:
        return [np.ascontiguousarray(values).view(np.uint32) >> 16]
    if scalar.is_float:
        unsigned = np.uint16 if scalar is HALF else np.uint32
        return [np.ascontiguousarray(values).view(unsigned).astype(np.uint32)]
    whole = values.astype(np.int64).view(np.uint64)
    low = (whole & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return [low, (whole >> np.uint64(32)).astype(np.uint32)] if scalar.bits == 64 else [low]
