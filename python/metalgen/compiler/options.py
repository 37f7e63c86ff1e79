"""How a source is to be compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """`math="fast"` is Metal's default; "safe" keeps NaN, infinities and the order of operations.

    `untrusted` sources may read no files but those in the include directories, and may hold no
    inline assembly.
    """

    math: Literal["fast", "safe"] = "fast"
    untrusted: bool = False
