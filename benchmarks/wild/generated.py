"""Projects whose sources a generator writes while `wild_results.py` runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from metalgen.compiler import CompileOptions
from wild.project import Package, Project, Source

SOURCES = "sources"  # the folder that the generator fills


def generated(
    name: str,
    packages: tuple[Package, ...],
    options: CompileOptions,
    include_dirs: tuple[Path, ...] = (),
) -> Project:
    """A project of what the generator `name` wrote; it is run where it has not been yet."""

    def sources(root: Path) -> Iterator[Source]:
        script = Path(__file__).parents[1] / "wild_results.py"
        if not (root / SOURCES).exists():
            subprocess.run([sys.executable, str(script), str(root.parent), name], check=False)
        for path in sorted((root / SOURCES).glob("*.metal")):
            yield Source(path.name, path.read_text(), include_dirs, options=options)

    return Project(name, packages, sources)
