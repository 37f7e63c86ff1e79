"""ggml's own kernels of late 2025, as its Python package brings them: one source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    ggml = root / "ggml-python/vendor/ggml/src"
    path = ggml / "ggml-metal/ggml-metal.metal"
    yield Source(path.name, path.read_text(), (path.parent, ggml), (("GGML_METAL_HAS_BF16", "1"),))


PROJECT = Project("ggml", (Package("pypi-source", "ggml-python", "0.0.45"),), _sources)
