"""torchvision's operators for PyTorch's MPS backend: one string, compiled as PyTorch does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from metalgen.compiler import CompileOptions
from wild.project import Package, Project, Source

_STRING = re.compile(r'R"VISION_METAL\((.*?)\)VISION_METAL"', re.DOTALL)
_OPTIONS = CompileOptions(math="safe", standard="metal3.1")


def _sources(root: Path) -> Iterator[Source]:
    path = root / "pytorch-vision/torchvision/csrc/ops/mps/mps_kernels.h"
    for found in _STRING.finditer(path.read_text()):
        yield Source(path.stem, found[1], options=_OPTIONS)


PROJECT = Project(
    "torchvision",
    (Package("debian-source", "pytorch-vision", "0.21.0-3", suite="trixie"),),
    _sources,
)
