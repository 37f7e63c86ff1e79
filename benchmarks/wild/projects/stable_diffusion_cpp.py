"""stable-diffusion.cpp, as its Python package brings it: ggml's kernels of early 2026."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source

_NAME = "stable-diffusion-cpp-python"


def _sources(root: Path) -> Iterator[Source]:
    ggml = root / _NAME / "vendor/stable-diffusion.cpp/ggml/src"
    path = ggml / "ggml-metal/ggml-metal.metal"
    yield Source(path.name, path.read_text(), (path.parent, ggml), (("GGML_METAL_HAS_BF16", "1"),))


PROJECT = Project("stable-diffusion.cpp", (Package("pypi-source", _NAME, "0.4.7"),), _sources)
