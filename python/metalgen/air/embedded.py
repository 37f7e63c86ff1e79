"""Find metallibs inside other files: libraries and programs that carry their kernels."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from metalgen.air.metallib import HEADER, MAGIC, Metallib, read_header
from metalgen.errors import MetallibError


def open_metallibs(path: str | os.PathLike[str]) -> list[Metallib]:
    """The metallib that a file is, or all that lie within it; MetallibError if there are none."""
    offsets = list(_offsets(Path(path)))
    if not offsets:
        # Either there is none, or the one at the start is damaged, of which this says more.
        return [Metallib.open(path)]
    return [Metallib.open(path, offset=offset) for offset in offsets]


def _offsets(path: Path) -> Iterator[int]:
    """Where a sound header is; the 4 letters alone also begin words like MTLBuffer."""
    try:
        if path.stat().st_size < HEADER.size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield from _search(data)
    except OSError as error:
        raise MetallibError(f"cannot read {path}: {error.strerror}") from error


def _search(data: mmap.mmap) -> Iterator[int]:
    at = data.find(MAGIC)
    while at >= 0:
        try:
            header = read_header(data[at : at + HEADER.size], len(data) - at)
        except MetallibError:
            after = at + 1
        else:
            yield at
            after = at + header.size
        at = data.find(MAGIC, after)
