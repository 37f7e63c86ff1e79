"""fp4-fp8-for-torch-mps: small floats for PyTorch, by way of `torch.mps.compile_shader`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metalgen.compiler import CompileOptions
from wild.project import Package, Project, Source


def _sources(root: Path) -> Iterator[Source]:
    for path in sorted((root / "fp4-fp8-for-torch-mps").rglob("*.metal")):
        # PyTorch compiles without fast maths.
        yield Source(path.name, path.read_text(), options=CompileOptions(math="safe"))


PROJECT = Project(
    "fp4-fp8-for-torch-mps", (Package("pypi", "fp4-fp8-for-torch-mps", "1.0.3"),), _sources
)
