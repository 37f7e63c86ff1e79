"""llama.cpp of May 2025, as llama-cpp-python brings it: one source of all kernels.

Its host gives it the macro for bfloat where the GPU has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    ggml = root / "llama-cpp-python/vendor/llama.cpp/ggml/src"
    path = ggml / "ggml-metal/ggml-metal.metal"
    yield Source(path.name, path.read_text(), (path.parent, ggml), (("GGML_METAL_USE_BF16", "1"),))


PROJECT = Project(
    "llama.cpp 2025", (Package("pypi-source", "llama-cpp-python", "0.3.9"),), _sources
)
