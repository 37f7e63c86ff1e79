"""llama.cpp, as llama-cpp-python brings it: its kernels for Apple's GPUs.

Its host compiles each source by itself, with the `#include "..."` lines written out and
GGML_METAL_HAS_BF16 defined where the GPU has bfloat. Two sources are only included by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source

_INCLUDED = ("fa_common", "fa_vec_common")
_BFLOAT = (("GGML_METAL_HAS_BF16", "1"),)


def _sources(root: Path) -> Iterator[Source]:
    ggml = root / "llama-cpp-python/vendor/llama.cpp/ggml/src"
    kernels = ggml / "ggml-metal/kernels"
    for path in sorted(kernels.glob("*.metal")):
        if path.stem not in _INCLUDED:
            yield Source(
                path.name,
                path.read_text(),
                (path.parent, path.parent.parent, ggml),
                _BFLOAT,
            )


PROJECT = Project("llama.cpp", (Package("pypi-source", "llama-cpp-python", "0.3.36"),), _sources)
