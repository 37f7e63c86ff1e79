"""llama.cpp of January 2024, as llama-cpp-python brings it: one source without any include."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    path = root / "llama-cpp-python/vendor/llama.cpp/ggml-metal.metal"
    yield Source(path.name, path.read_text())


PROJECT = Project(
    "llama.cpp 2023", (Package("pypi-source", "llama-cpp-python", "0.2.30"),), _sources
)
