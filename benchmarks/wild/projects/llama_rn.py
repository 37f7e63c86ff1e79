"""llama.rn, llama.cpp for React Native: ggml's kernels with every GGML_ renamed to LM_GGML_.

Its host embeds the source with what it includes written out, and gives it the macro for bfloat.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    path = root / "llama.rn/cpp/ggml-metal/ggml-metal.metal"
    folders = (path.parent, path.parent.parent)
    yield Source(path.name, path.read_text(), folders, (("LM_GGML_METAL_HAS_BF16", "1"),))


PROJECT = Project("llama.rn", (Package("npm", "llama.rn", "0.12.9"),), _sources)
