"""What others who bind Metal say about its methods: PyObjC's metadata and Apple's metal-cpp."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from apple_metallib import apple_headers

from apple import build
from apple.protocols import read_protocols

PYOBJC = "pyobjc-framework-Metal"


@dataclass(frozen=True)
class PyObjC:
    """PyObjC's knowledge of Metal, from a wheel that is read but never run."""

    protocols: dict[str, dict[str, str]]  # compiled in: each method's encoding
    registered: dict[str, dict[int, str]]  # by selector: encodings by position, -1 the result
    constants: dict[str, int]


def pyobjc() -> PyObjC:
    """From the package index, once; skips the test where it cannot be had."""
    directory = build.KEPT / "pyobjc"
    with build.alone("pyobjc"):
        if not (directory / "Metal").exists():
            _download(directory)
    (library,) = (directory / "Metal").glob("_Metal.*.so")
    source = (directory / "Metal" / "_metadata.py").read_text()
    constants = re.findall(r"\$(\w+)@(-?\d+)(?=\$)", source)
    return PyObjC(
        protocols=read_protocols(library),
        registered=_registered(source),
        constants={name: int(value) for name, value in constants},
    )


def metal_cpp() -> dict[str, str]:
    """Metal-cpp's C++ signature of each selector; skips where its headers cannot be had."""
    directory = apple_headers() / "Metal"
    text = "".join(path.read_text() for path in directory.glob("*.hpp"))
    selectors = dict(re.findall(r'_MTL_PRIVATE_DEF_SEL\((\w+),\s*"([^"]+)"\)', text))
    body = r"\n\{\s*(?:return )?Object::sendMessage[^;]*_PRIVATE_SEL\((\w+)\)"
    definitions = re.findall(r"_MTL_INLINE ([^\n]*?)" + body, text)
    return {selectors.get(name, name): signature for signature, name in definitions}


def _download(directory: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    wanted = ["--only-binary=:all:", "--platform", "macosx_11_0_arm64", "--python-version", "3.12"]
    where = ["--dest", str(directory), "--timeout", "10", "--retries", "0"]
    done = subprocess.run([*pip, *wanted, *where, PYOBJC], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{PYOBJC} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)


def _registered(source: str) -> dict[str, dict[int, str]]:
    """Types given in calls r(class, selector, {"retval": .., "arguments": {2: .., ..}})."""
    found: dict[str, dict[int, str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "r":
            _, selector, described = (ast.literal_eval(argument) for argument in node.args)
            types = {-1: described.get("retval", {}), **described.get("arguments", {})}
            said = {position: type["type"] for position, type in types.items() if "type" in type}
            found.setdefault(selector.decode(), {}).update(
                {n: type if isinstance(type, str) else type.decode() for n, type in said.items()}
            )
    return found
