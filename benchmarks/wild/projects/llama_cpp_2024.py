"""llama.cpp of August 2024, as llama-cpp-python brings it: one source, compiled as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    path = root / "llama-cpp-python/vendor/llama.cpp/ggml/src/ggml-metal.metal"
    yield Source(path.name, path.read_text(), (path.parent,))


PROJECT = Project(
    "llama.cpp 2024", (Package("pypi-source", "llama-cpp-python", "0.2.90"),), _sources
)
