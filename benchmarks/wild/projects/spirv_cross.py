"""SPIRV-Cross: the Metal that its tests expect of every stage; graphics are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wild.project import Package, Project, Source

_NO_OPT = "shaders-msl-no-opt/comp"
# Written with errors on purpose, as their names say.
_INVALID = {
    "msl12.emulate-subgroup": "has a parameter of type unsupported-built-in-type",
    "msl22.ios": "makes a uint4 of three components",
    "msl23.ios.simd": "makes a uint4 of three components",
    "msl21": "simd_and and its like take integers, not bool4 (6.9.2)",
}
_REFERENCES = ("shaders-msl", "shaders-msl-no-opt", "opt/shaders-msl")


def _sources(root: Path) -> Iterator[Source]:
    references = root / "spirv-cross/reference"
    for folder in _REFERENCES:
        for path in sorted((references / folder).rglob("*")):
            if path.is_file():
                yield Source(str(path.relative_to(references)), path.read_text())


PROJECT = Project(
    "SPIRV-Cross",
    (Package("debian-source", "spirv-cross", "2021.01.15+1.3.239.0-1"),),
    _sources,
    {
        f"{_NO_OPT}/subgroups.nocompat.invalid.vk.{name}.comp": reason
        for name, reason in _INVALID.items()
    },
)
