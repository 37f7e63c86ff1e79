"""How a value of a kernel is held while a whole SIMD-group runs: once, as 32 lanes, or in parts."""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.software.ir.types import Type

WIDTH = 32


@dataclass(frozen=True, slots=True)
class Same:
    """One value for all lanes; `text` is an operand of the type."""

    type: Type
    text: str


@dataclass(frozen=True, slots=True)
class Wide:
    """A scalar in each lane; `text` is an operand of type <32 x type>."""

    type: Type
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """Lane l holds `base` + l · `stride`, provided `holds` (an i1 operand); `wide` is right in any
    case.

    `bound` is the largest value any lane can have, lanes that do not run included; None if
    unknown.
    """

    type: Type
    base: str
    stride: int
    wide: str
    holds: str = "true"
    bound: int | None = None


@dataclass(frozen=True, slots=True)
class Parted:
    """A vector or aggregate, each part held in its own way."""

    type: Type
    elements: tuple[Held, ...]


Held = Same | Wide | Line | Parted


@dataclass(frozen=True, slots=True)
class Mask:
    """The lanes that run: `bits` is an i32 operand, `lanes` the same as <32 x i1>."""

    bits: str
    lanes: str


def wide_type(type_: Type) -> str:
    return f"<{WIDTH} x {type_}>"
