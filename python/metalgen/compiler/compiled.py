"""What compiling one source gives: its object, and what the compiler warned of."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compiled:
    """An object in the toolchain's own form, and a text per warning, notes and caret included."""

    content: bytes
    warnings: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """As the cache keeps it: the warnings in one line, then the object."""
        return json.dumps(self.warnings).encode() + b"\n" + self.content

    @classmethod
    def from_bytes(cls, kept: bytes) -> Compiled:
        """What `to_bytes` has written."""
        warnings, _, content = kept.partition(b"\n")
        return cls(content, tuple(json.loads(warnings)))
