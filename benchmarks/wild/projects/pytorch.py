"""PyTorch's MPS backend, as Debian has its sources: files that the build compiles, and strings.

The build compiles the files with -fno-fast-math for Metal 3.0 and, with bfloat, 3.1; the host the
strings in Objective-C++ alike, after putting element types into some and how a value is converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from metalgen.compiler.options import CompileOptions, Standard
from wild.project import Package, Project, Source

_STANDARDS: tuple[Standard, ...] = ("metal3.0", "metal3.1")
_STRING = re.compile(r'R"(METAL\w*)\((.*?)\)\1"', re.DOTALL)
_HOLE = re.compile(r"\{(\d)\}")
_TYPES = [("float", "float"), ("half", "half"), ("bfloat", "bfloat"), ("float", "int")]
_FILLED = {
    "BitwiseOps": [("int", "int", "int"), ("long", "uchar", "long"), ("bool", "bool", "bool")],
    "Gamma": _TYPES,
    "UnaryConstants": _TYPES,
    "IndexKernels": [
        ("float", "half", "(x)"),
        ("bfloat", "float", "float(x)"),
        ("float", "bfloat", "bfloat(x)"),
        ("float2", "half2", "half2(x.x, -x.y)"),
        ("uchar", "float2", "float2(x,  0.0)"),
    ],
}


def _sources(root: Path) -> Iterator[Source]:
    aten = root / "pytorch/aten/src"
    mps = aten / "ATen/native/mps"
    for path in sorted((mps / "kernels").glob("*.metal")):
        for standard in _STANDARDS:
            name = f"{path.stem} {standard}"
            yield Source(name, path.read_text(), (aten,), options=_options(standard))
    strings = (*mps.glob("*.h"), *mps.glob("operations/*.mm"), *(aten / "ATen/mps").glob("*.h"))
    for path in sorted(strings):
        for at, found in enumerate(_STRING.finditer(path.read_text())):
            for values in _FILLED.get(path.stem, [()]):
                name = " ".join((path.stem, str(at), *values))
                text = _formatted(found[2], values) if values else found[2]
                yield Source(name, text, options=_options(_STANDARDS[-1]))


def _options(standard: Standard) -> CompileOptions:
    return CompileOptions(math="safe", standard=standard)


def _formatted(text: str, values: tuple[str, ...]) -> str:
    """What fmt::format makes of it."""
    text = _HOLE.sub(lambda found: values[int(found[1])], text)
    return text.replace("{{", "{").replace("}}", "}")


PROJECT = Project(
    "PyTorch", (Package("debian-source", "pytorch", "2.6.0+dfsg-7", suite="trixie"),), _sources
)
