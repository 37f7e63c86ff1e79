"""Moves values between the ways they can be held: once, per lane, in parts; and in and out of
storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalgen.software.ir.model import Aggregate, Literal, Operand
from metalgen.software.ir.types import I1, I32, I64, Array, Int, Layout, Pointer, Type, Vector
from metalgen.software.simdgroup.builder import Builder
from metalgen.software.simdgroup.shapes import (
    UNIFORM,
    Parts,
    Pattern,
    Shape,
    Uniform,
    part_types,
    signed,
)
from metalgen.software.simdgroup.values import (
    Held,
    Line,
    Mask,
    Parted,
    Same,
    Wide,
    wide_type,
)


def listed(type_: Int, numbers: Sequence[int]) -> str:
    """The numbers, modulo the width, as a constant vector."""
    parts = ", ".join(f"{type_} {signed(number, type_.bits)}" for number in numbers)
    return f"<{parts}>"


@dataclass(frozen=True, slots=True)
class Lanes:
    """Conversions between held values, written through a builder."""

    builder: Builder
    layout: Layout

    def wide(self, held: Held) -> str:
        """A scalar as an operand of type <32 x type>."""
        match held:
            case Wide(_, text):
                return text
            case Line():
                return held.wide or self._spread(held)
            case Same(type_, text):
                return self.builder.splat(type_, text)
        raise TypeError(f"{held} is not a scalar")

    def _spread(self, line: Line) -> str:
        """The lanes of an exact line."""
        offsets = line.pattern.offsets
        if isinstance(line.type, Pointer):
            steps = f"{wide_type(I64)} {listed(I64, offsets)}"
            return self.builder.value(f"getelementptr i8, ptr {line.base}, {steps}")
        assert isinstance(line.type, Int)
        if line.pattern.base is not None:
            start = line.pattern.base
            return listed(line.type, [start + offset for offset in offsets])
        base = self.builder.splat(line.type, line.base)
        steps = listed(line.type, offsets)
        return self.builder.value(f"add {wide_type(line.type)} {base}, {steps}")

    def same(self, held: Held) -> str:
        """The operand of a value that every lane shares."""
        assert isinstance(held, Same)
        return held.text

    def part_types(self, type_: Type) -> tuple[Type, ...]:
        return part_types(type_, self.layout)

    def part(self, held: Held, index: int) -> Held:
        """One part of a vector or aggregate."""
        if isinstance(held, Parted):
            return held.elements[index]
        assert isinstance(held, Same)
        type_ = self.part_types(held.type)[index]
        if held.text in ("undef", "poison", "zeroinitializer"):
            text = "zeroinitializer" if held.text == "zeroinitializer" else "poison"
            return Same(type_, _scalar_constant(type_, text))
        if isinstance(held.type, Vector):
            opcode = f"extractelement {held.type} {held.text}, i64 {index}"
        else:
            opcode = f"extractvalue {held.type} {held.text}, {index}"
        return Same(type_, self.builder.value(opcode))

    def parts(self, held: Held) -> list[Held]:
        return [self.part(held, index) for index in range(len(self.part_types(held.type)))]

    def parted(self, type_: Type, elements: list[Held]) -> Held:
        """A vector or aggregate of `elements`; held once when all of them are."""
        if not all(isinstance(element, Same) for element in elements):
            return Parted(type_, tuple(elements))
        text = "poison"
        for index, element in enumerate(elements):
            operand = f"{element.type} {self.same(element)}"
            if isinstance(type_, Vector):
                text = self.builder.value(f"insertelement {type_} {text}, {operand}, i64 {index}")
            else:
                text = self.builder.value(f"insertvalue {type_} {text}, {operand}, {index}")
        return Same(type_, text)

    def constant(self, operand: Operand) -> Held:
        """A constant operand; vectors of constants in parts, so that their elements can be seen."""
        value = operand.value
        if isinstance(value, Aggregate) and isinstance(operand.type, Vector | Array):
            count = len(self.part_types(operand.type))
            return Parted(operand.type, tuple(self.constant(e) for e in value.elements[:count]))
        text = str(value)
        if isinstance(value, Literal) and not self.part_types(operand.type):
            text = _scalar_constant(operand.type, text)
        return Same(operand.type, text)

    # Shapes.

    def shaped(self, held: Held, shape: Shape) -> Held:
        """`held` in the form that `shape`, which covers it, calls for."""
        match shape:
            case Parts(elements):
                held_parts = [
                    self.shaped(part, element)
                    for part, element in zip(self.parts(held), elements, strict=True)
                ]
                return Parted(held.type, tuple(held_parts))
            case Uniform():
                return (
                    self.parted(held.type, self.parts(held)) if isinstance(held, Parted) else held
                )
            case Pattern() if isinstance(held, Line):
                return held
        return Wide(held.type, self.wide(held))


@dataclass(frozen=True, slots=True)
class Slot:
    """Storage for one value of known shape: one place per register it is held in."""

    type: Type
    shape: Shape
    places: tuple[str, ...]  # as `_types` has them
    parts: tuple[Slot, ...] = ()


def make_slot(lanes: Lanes, type_: Type, shape: Shape) -> Slot:
    builder = lanes.builder
    match shape:
        case Parts(elements):
            types = lanes.part_types(type_)
            slots = (make_slot(lanes, t, s) for t, s in zip(types, elements, strict=True))
            return Slot(type_, shape, (), tuple(slots))
    return Slot(type_, shape, tuple(builder.slot(name) for name in _types(type_, shape)))


def store_slot(lanes: Lanes, slot: Slot, held: Held, edge: Mask | None = None) -> None:
    """Stores a value; with `edge` only for its lanes, which need not be all or any that run."""
    held = lanes.shaped(held, slot.shape)
    if slot.parts:
        for inner, element in zip(slot.parts, lanes.parts(held), strict=True):
            store_slot(lanes, inner, element, edge)
        return
    for place, type_, text in zip(
        slot.places, _types(slot.type, slot.shape), _texts(lanes, held, slot.shape), strict=True
    ):
        if edge is not None:
            old = lanes.builder.load(type_, place)
            if type_ == wide_type(slot.type):
                text = lanes.builder.blend(slot.type, edge, text, old)
            else:
                taken = lanes.builder.any(edge.bits)
                text = lanes.builder.value(f"select i1 {taken}, {type_} {text}, {type_} {old}")
        lanes.builder.store(type_, text, place)


def load_slot(lanes: Lanes, slot: Slot) -> Held:
    if slot.parts:
        return Parted(slot.type, tuple(load_slot(lanes, part) for part in slot.parts))
    pairs = zip(_types(slot.type, slot.shape), slot.places, strict=True)
    texts = [lanes.builder.load(type_, place) for type_, place in pairs]
    match slot.shape:
        case Uniform():
            return Same(slot.type, texts[0])
        case Pattern() as pattern:
            if pattern.base is not None:
                assert isinstance(slot.type, Int)
                return Line(slot.type, str(signed(pattern.base, slot.type.bits)), pattern)
            return Line(slot.type, texts[0], pattern, *texts[1:])
    return Wide(slot.type, texts[0])


def _types(type_: Type, shape: Shape) -> tuple[str, ...]:
    """What is stored of a value: lines that need not hold are stored as wide values, too."""
    match shape:
        case Uniform():
            return (str(type_),)
        case Pattern(base=int()):
            return ()
        case Pattern(exact=True):
            return (str(type_),)
        case Pattern():
            return (str(type_), "i1", wide_type(type_))
    return (wide_type(type_),)


def _texts(lanes: Lanes, held: Held, shape: Shape) -> tuple[str, ...]:
    match held:
        case Same(_, text) | Wide(_, text):
            return (text,)
        case Line():
            if isinstance(shape, Pattern) and shape.exact:
                return (held.base,) if shape.base is None else ()
            return held.base, held.holds, lanes.wide(held)
    raise TypeError(f"{held} is not a scalar")


def _scalar_constant(type_: Type, text: str) -> str:
    if text == "undef":
        return "poison"
    if text == "zeroinitializer":
        return "null" if isinstance(type_, Pointer) else _zero(type_)
    return text


def _zero(type_: Type) -> str:
    if type_ == I1:
        return "false"
    return "0" if str(type_).startswith("i") else "zeroinitializer"


__all__ = [
    "I32",
    "I64",
    "UNIFORM",
    "Lanes",
    "Slot",
    "load_slot",
    "make_slot",
    "store_slot",
]
