"""FFmpeg: its deinterlacer, which works on textures (ffbuild/common.mak: metal, no options)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    for path in sorted((root / "ffmpeg/libavfilter/metal").glob("*.metal")):
        yield Source(path.name, path.read_text(), (path.parent,))


PROJECT = Project("FFmpeg", (Package("debian-source", "ffmpeg", "7:8.1.2-2", "sid"),), _sources)
