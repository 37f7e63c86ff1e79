"""llama.cpp, as llama-cpp-python brings it: its kernels for Apple's GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    ggml = root / "llama-cpp-python/vendor/llama.cpp/ggml/src"
    kernels = ggml / "ggml-metal/kernels"
    for path in sorted(kernels.glob("*.metal")):
        yield Source(path.name, path.read_text(), (path.parent, path.parent.parent, ggml))


PROJECT = Project("llama.cpp", (Package("pypi-source", "llama-cpp-python", "0.3.36"),), _sources)
