"""LLVM's first-class types as AIR uses them, with their layout in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FLOAT_BITS = {"half": 16, "bfloat": 16, "float": 32, "double": 64}


@dataclass(frozen=True, slots=True)
class Int:
    bits: int

    def __str__(self) -> str:
        return f"i{self.bits}"


@dataclass(frozen=True, slots=True)
class Float:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Pointer:
    address_space: int = 0

    def __str__(self) -> str:
        return f"ptr addrspace({self.address_space})" if self.address_space else "ptr"


@dataclass(frozen=True, slots=True)
class Vector:
    count: int
    element: Type

    def __str__(self) -> str:
        return f"<{self.count} x {self.element}>"


@dataclass(frozen=True, slots=True)
class Array:
    count: int
    element: Type

    def __str__(self) -> str:
        return f"[{self.count} x {self.element}]"


@dataclass(frozen=True, slots=True)
class Struct:
    """A literal struct; named ones are resolved to this when a module is parsed."""

    elements: tuple[Type, ...]
    packed: bool = False

    def __str__(self) -> str:
        inner = ", ".join(str(element) for element in self.elements)
        text = f"{{ {inner} }}" if inner else "{}"
        return f"<{text}>" if self.packed else text


@dataclass(frozen=True, slots=True)
class Named:
    """A named struct; its elements stand in `Module.structs`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Opaque:
    """`void`, `label`, `metadata` and `token`: types that no value in memory has."""

    name: str

    def __str__(self) -> str:
        return self.name


Type = Int | Float | Pointer | Vector | Array | Struct | Named | Opaque

VOID = Opaque("void")
LABEL = Opaque("label")
I1, I8, I16, I32, I64 = Int(1), Int(8), Int(16), Int(32), Int(64)
F32 = Float("float")
PTR = Pointer()


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes, alignments and offsets in bytes, as AIR's and every 64-bit host's data layout have
    them.
    """

    structs: Mapping[str, Struct]

    def struct(self, type_: Struct | Named) -> Struct:
        return self.structs[type_.name] if isinstance(type_, Named) else type_

    def alignment(self, type_: Type) -> int:
        match type_:
            case Int(bits):
                return min(_power_of_two((bits + 7) // 8), 16)
            case Float(name):
                return FLOAT_BITS[name] // 8
            case Pointer():
                return 8
            case Vector(count, element):
                return _power_of_two(max(1, (count * self.bits(element) + 7) // 8))
            case Array(_, element):
                return self.alignment(element)
            case Struct() | Named():
                struct = self.struct(type_)
                return 1 if struct.packed else max(map(self.alignment, struct.elements), default=1)
        raise TypeError(f"{type_} has no layout")

    def size(self, type_: Type) -> int:
        """Bytes from one element of an array of this type to the next."""
        match type_:
            case Vector() | Int():
                stored = (self.bits(type_) + 7) // 8
                return _round_up(stored, self.alignment(type_))
            case Float(name):
                return FLOAT_BITS[name] // 8
            case Pointer():
                return 8
            case Array(count, element):
                return count * self.size(element)
            case Struct() | Named():
                struct = self.struct(type_)
                end = self._end_of(struct, len(struct.elements))
                return _round_up(end, self.alignment(type_))
        raise TypeError(f"{type_} has no layout")

    def bits(self, type_: Type) -> int:
        match type_:
            case Int(bits):
                return bits
            case Float(name):
                return FLOAT_BITS[name]
            case Pointer():
                return 64
            case Vector(count, element):
                return count * self.bits(element)
        raise TypeError(f"{type_} is not a scalar or vector")

    def offset(self, type_: Struct | Named, index: int) -> int:
        struct = self.struct(type_)
        end = self._end_of(struct, index)
        return end if struct.packed else _round_up(end, self.alignment(struct.elements[index]))

    def _end_of(self, struct: Struct, count: int) -> int:
        end = 0
        for element in struct.elements[:count]:
            end = (end if struct.packed else _round_up(end, self.alignment(element))) + self.size(
                element
            )
        return end


def _power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()


def _round_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
