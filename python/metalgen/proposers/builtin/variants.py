"""Ways to write the same problem's kernels, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_tiled: ContextVar[bool] = ContextVar("tiled", default=True)


@dataclass(frozen=True, slots=True)
class Variant:
    """`fuse`: whether kernels take in what follows them; `tiled`: whether products use tiles."""

    description: str
    fuse: bool
    tiled: bool

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The variant's choices hold while the graph is lowered inside."""
        token = _tiled.set(self.tiled)
        try:
            yield
        finally:
            _tiled.reset(token)


VARIANTS = (
    Variant("Fused kernels", fuse=True, tiled=True),
    Variant("One kernel per operator", fuse=False, tiled=True),
    Variant("One kernel per operator, products without tiles", fuse=False, tiled=False),
)


def uses_tiles() -> bool:
    """Whether the variant in force computes matrix products in tiles."""
    return _tiled.get()
