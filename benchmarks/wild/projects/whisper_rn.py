"""whisper.rn, whisper.cpp for React Native: ggml's kernels, renamed and each compiled by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    metal = root / "whisper.rn/cpp/ggml-metal"
    for path in sorted((metal / "kernels").glob("*.metal")):
        folders = (path.parent, metal, metal.parent)
        yield Source(path.name, path.read_text(), folders, (("WSP_GGML_METAL_HAS_BF16", "1"),))


PROJECT = Project("whisper.rn", (Package("npm", "whisper.rn", "0.7.4"),), _sources)
