"""How a value of a kernel is held while a whole SIMD-group runs: once, as 32 lanes, or in parts."""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.software.ir.types import Type
from metalgen.software.simdgroup.shapes import WIDTH as WIDTH
from metalgen.software.simdgroup.shapes import Pattern


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
    """Lane l holds `base` plus the offset that `pattern` gives it, provided `holds` (an i1).

    Where the pattern is not exact, `wide` is right in any case.
    """

    type: Type
    base: str
    pattern: Pattern
    holds: str = "true"
    wide: str = ""


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

    @property
    def is_full(self) -> bool:
        """Whether all 32 lanes are known to run."""
        return self.bits == "-1"


def wide_type(type_: Type) -> str:
    return f"<{WIDTH} x {type_}>"
