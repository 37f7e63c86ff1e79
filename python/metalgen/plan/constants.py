"""Values a plan hands to `constant` arguments: Metal scalars, vectors, arrays and structs as bytes.

    {"uint": "x.shape[1]"}   {"float": 1e-5}   {"uint3": [1, 2, "x.ndim"]}   {"int": [4, 5, 6, 7]}
    {"struct": [{"uint": "x.shape[0]"}, {"float": 0.5}]}

Sizes and alignments: Metal Shading Language Specification, section 2 (data types).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from metalgen.errors import PlanError
from metalgen.plan.expression import Expression, Scope, lookup, parse_expression
from metalgen.plan.expression import Value as NamedValue

# Metal's scalars: format of Python's struct module ("bfloat" has none), size in bytes.
SCALARS: Mapping[str, tuple[str, int]] = {
    "bool": ("?", 1),
    "char": ("b", 1),
    "uchar": ("B", 1),
    "short": ("h", 2),
    "ushort": ("H", 2),
    "int": ("i", 4),
    "uint": ("I", 4),
    "long": ("q", 8),
    "ulong": ("Q", 8),
    "half": ("e", 2),
    "bfloat": ("", 2),
    "float": ("f", 4),
}
ALIASES: Mapping[str, str] = {
    "int8_t": "char",
    "uint8_t": "uchar",
    "int16_t": "short",
    "uint16_t": "ushort",
    "int32_t": "int",
    "uint32_t": "uint",
    "int64_t": "long",
    "uint64_t": "ulong",
    "size_t": "ulong",
}
FLOATS = frozenset({"half", "bfloat", "float"})
_TYPE = re.compile(r"(packed_)?([a-z]+)([234]?)")
_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


@dataclass(frozen=True, slots=True)
class MetalType:
    """A scalar or vector type that a constant argument may have."""

    scalar: str
    width: int
    packed: bool

    @classmethod
    def parse(cls, name: str) -> MetalType:
        """Read `uint`, `float4`, `packed_float3` or `uint32_t`; PlanError lists the scalars."""
        canonical = ALIASES.get(name, name)
        match = _TYPE.fullmatch(canonical)
        if match is None or match[2] not in SCALARS:
            raise PlanError(
                f"unknown type '{name}'; expected {', '.join(SCALARS)}, a vector such as uint3,"
                f" or struct"
            )
        return cls(match[2], int(match[3] or 1), bool(match[1]))

    def __str__(self) -> str:
        width = str(self.width) if self.width > 1 else ""
        return f"{'packed_' if self.packed else ''}{self.scalar}{width}"

    @property
    def size(self) -> int:
        """Bytes, a three-component vector taking the room of four unless packed."""
        lanes = 4 if self.width == 3 and not self.packed else self.width
        return lanes * SCALARS[self.scalar][1]

    @property
    def alignment(self) -> int:
        """Bytes."""
        return SCALARS[self.scalar][1] if self.packed else self.size

    def pack(self, value: int | float) -> bytes:
        """One component; PlanError where the value does not fit."""
        if self.scalar == "bfloat":
            return _pack_bfloat(float(value))
        try:
            return struct.pack("<" + SCALARS[self.scalar][0], value)
        except (struct.error, OverflowError):
            raise PlanError(f"{value} does not fit {self.scalar}") from None


def _pack_bfloat(value: float) -> bytes:
    try:
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
    except OverflowError:
        raise PlanError(f"{value} does not fit bfloat") from None
    if not math.isnan(value):
        bits += 0x7FFF + (bits >> 16 & 1)  # to nearest, ties to even
    return struct.pack("<H", min(bits >> 16, 0xFFFF))


@dataclass(frozen=True)
class Constant:
    """One value of a Metal type: a scalar, a vector, or an array of either."""

    type: MetalType
    values: tuple[Expression | float, ...]
    is_array: bool

    @cached_property
    def names(self) -> frozenset[str]:
        """Names the values need."""
        named = (v.names for v in self.values if isinstance(v, Expression))
        return frozenset().union(*named)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.type.size * (len(self.values) // self.type.width)

    @property
    def alignment(self) -> int:
        """Bytes."""
        return self.type.alignment

    @property
    def is_scalar(self) -> bool:
        """Whether it is one plain number."""
        return not self.is_array and self.type.width == 1

    def numbers(self, scope: Scope) -> list[int | float]:
        """The values, evaluated."""
        return [_number(self.type.scalar, value, scope) for value in self.values]

    def pack(self, scope: Scope) -> bytes:
        """The bytes Metal expects for it."""
        lanes = [self.type.pack(number) for number in self.numbers(scope)]
        width = self.type.width
        vectors = (b"".join(lanes[i : i + width]) for i in range(0, len(lanes), width))
        return b"".join(vector.ljust(self.type.size, b"\0") for vector in vectors)


@dataclass(frozen=True)
class Struct:
    """Members in order, laid out as Metal lays out a struct."""

    members: tuple[Constant, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """Names the members need."""
        return frozenset().union(*(member.names for member in self.members))

    @property
    def size(self) -> int:
        """Bytes, padding included."""
        size = 0
        for member in self.members:
            size = _aligned(size, member.alignment) + member.size
        return _aligned(size, max(member.alignment for member in self.members))

    def pack(self, scope: Scope) -> bytes:
        """The bytes Metal expects for it."""
        packed = b""
        for member in self.members:
            packed = packed.ljust(_aligned(len(packed), member.alignment), b"\0")
            packed += member.pack(scope)
        return packed.ljust(self.size, b"\0")


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _number(scalar: str, value: Expression | float, scope: Scope) -> int | float:
    if not isinstance(value, Expression):
        return value
    if scalar in FLOATS and isinstance(value.node, NamedValue):
        found = lookup(value.node.name, scope)
        if isinstance(found, float):
            return found
    number = value.evaluate(scope)
    if scalar in FLOATS:
        return float(number)
    if scalar == "bool":
        return bool(number)
    return number


def parse_constant(raw: Mapping[object, object]) -> Constant | Struct:
    """Read `{"type": value}`; PlanError says what was expected."""
    if len(raw) != 1:
        raise PlanError(f'expected one type and its value, as {{"uint": 4}}, found {dict(raw)}')
    ((name, value),) = raw.items()
    if not isinstance(name, str):
        raise PlanError(f"expected a type's name, found {name!r}")
    if name == "struct":
        return _parse_struct(value)
    kind = MetalType.parse(name)
    values = value if isinstance(value, list) else [value]
    if not values or len(values) % kind.width:
        raise PlanError(f"{name} takes {kind.width} components each, found {len(values)} values")
    parsed = tuple(_parse_value(kind, item) for item in values)
    return Constant(kind, parsed, is_array=isinstance(value, list) and len(values) > kind.width)


def _parse_struct(raw: object) -> Struct:
    if not isinstance(raw, list) or not raw:
        raise PlanError('expected a list of members, as {"struct": [{"uint": 4}, {"float": 0.5}]}')
    members = []
    for member in raw:
        parsed = parse_constant(member) if isinstance(member, dict) else None
        if not isinstance(parsed, Constant):
            raise PlanError(f'expected a member such as {{"uint": 4}}, found {member!r}')
        members.append(parsed)
    return Struct(tuple(members))


def _parse_value(kind: MetalType, raw: object) -> Expression | float:
    if isinstance(raw, bool):
        return parse_expression(int(raw))
    if kind.scalar not in FLOATS:
        if isinstance(raw, float):
            raise PlanError(f"{kind.scalar} takes a whole number or an expression, found {raw}")
        return parse_expression(raw)
    if isinstance(raw, int | float):
        return float(raw)
    if isinstance(raw, str) and raw in _NON_FINITE:
        return _NON_FINITE[raw]
    return parse_expression(raw)
