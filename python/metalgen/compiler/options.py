"""How a source is to be compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Standard = Literal["metal3.0", "metal3.1", "metal3.2", "metal4.0"]
MathMode = Literal["fast", "relaxed", "safe"]
FunctionForms = Literal["fast", "precise"]

# The AIR each version of the language came with, and the triple Apple's compiler gives it for the
# first macOS that has both.
_TARGETS: dict[Standard, tuple[tuple[int, int], str]] = {
    "metal3.0": ((2, 5), "air64-apple-macosx13.0.0"),
    "metal3.1": ((2, 6), "air64-apple-macosx14.0.0"),
    "metal3.2": ((2, 7), "air64_v27-apple-macosx15.0.0"),
    "metal4.0": ((2, 8), "air64_v28-apple-macosx26.0.0"),
}


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """`math="fast"` is Metal's default; "safe" keeps NaN, infinities and the order of operations.

    "relaxed" is "fast" with NaN and infinities, which metalgen's own compiler keeps in either.
    `functions` says which forms `exp` and its like have for floats, "fast" or "precise"; None is
    "precise" for safe maths and else "fast".
    `standard` is the version of the language: metal3.1 runs from macOS 14 on, metal3.2 from 15,
    metal4.0 from 26. `untrusted` sources may read no files but those in the include directories,
    and may hold no inline assembly.
    """

    math: MathMode = "fast"
    untrusted: bool = False
    standard: Standard = "metal3.2"
    functions: FunctionForms | None = None

    @property
    def has_fast_functions(self) -> bool:
        """Whether the functions of floats that have a fast form are called in it."""
        return (self.functions or ("precise" if self.math == "safe" else "fast")) == "fast"

    @property
    def language_version(self) -> tuple[int, int]:
        """`standard` as numbers, (3, 2)."""
        major, _, minor = self.standard.removeprefix("metal").partition(".")
        return int(major), int(minor)

    @property
    def air_version(self) -> tuple[int, int]:
        """The version of AIR that goes with `standard`."""
        return _TARGETS[self.standard][0]

    @property
    def triple(self) -> str:
        """LLVM's name of the target."""
        return _TARGETS[self.standard][1]
