"""The C++ part (maths/*.cpp) as LLVM bitcode: compiled once, kept in a file, loaded by group.

The file is a zip archive with two bitcode modules per C++ source, one to be inlined and one to be
called, and an index from function to source, so that a kernel links only the groups it calls. The
wheel carries it; a checkout builds it on first use into a cache.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import llvmlite.binding as llvm

from metalgen.errors import ToolchainError

_SOURCES = Path(__file__).parent / "maths"
_SHIPPED = Path(__file__).parent / "maths.zip"
_INDEX = "index.json"
_FLAGS = (
    "-x c++ -std=c++20 --target=spir64 -O2 -S -emit-llvm -nostdinc -ffreestanding -fno-exceptions "
    "-fno-rtti -ffp-contract=on -fno-math-errno -Wall -Wextra -Werror"
).split()
# Functions of fewer instructions are inlined, for speed or where compiling is to be quick.
_INLINED_BELOW = {"inlined": 80, "called": 20}


def build(output: Path) -> None:
    """Compile maths/*.cpp with the ziglang wheel's clang into the archive `output`.

    Raises ToolchainError if clang is missing or fails.
    """
    index: dict[str, str] = {}
    output.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=output.name)
    os.close(handle)
    temporary = Path(name)
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for source in sorted(_SOURCES.glob("*.cpp")):
                text = _compile(source)
                for form, most in _INLINED_BELOW.items():
                    bitcode, names = _assemble(_host_neutral(text, most))
                    archive.writestr(_entry(source.stem, form), bitcode)
                index |= dict.fromkeys(names, source.stem)
            archive.writestr(_INDEX, json.dumps(index, indent=0))
        temporary.chmod(0o644)  # a temporary file is its owner's alone
        temporary.replace(output)
    except BaseException:
        temporary.unlink()
        raise


def _entry(group: str, form: str) -> str:
    return f"{group}.{form}.bc"


def _compile(source: Path) -> str:
    command = [sys.executable, "-m", "ziglang", "clang", *_FLAGS, str(source), "-o", "-"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = " ".join(result.stderr.split()) or f"exit status {result.returncode}"
        raise ToolchainError(
            f"cannot compile {source.name} with the ziglang package's clang: {reason}"
        )
    return result.stdout


def _assemble(text: str) -> tuple[bytes, list[str]]:
    """Bitcode, and the functions it defines."""
    module = llvm.parse_assembly(text, llvm.create_context())
    return module.as_bitcode(), [f.name for f in module.functions if not f.is_declaration]


# What ties the module to SPIR, or to one compilation.
_MODULE_LINES = re.compile(r"^(?:target |attributes #|source_filename|![\w.]+ =).*\n", re.MULTILINE)
_METADATA = re.compile(r"(?:, ![\w.]+ !\d+)+$", re.MULTILINE)
_PURE_GROUP = re.compile(r"^attributes (#\d+) = \{.* memory\(none\)", re.MULTILINE)
_DEFINITION = re.compile(
    r"^define (?:dso_local |internal |linkonce_odr |hidden |comdat |spir_func )*(?P<head>[^\n]*\))"
    r" (?:local_)?unnamed_addr (?P<group>#\d+)[^\n]*\{\n(?P<body>.*?)^\}",
    re.MULTILINE | re.DOTALL,
)


def _host_neutral(text: str, inlined_below: int) -> str:
    """Plain functions of no target that can be merged, dropped and inlined."""
    pure = set(_PURE_GROUP.findall(text))
    text = _METADATA.sub("", _MODULE_LINES.sub("", text))
    text = _DEFINITION.sub(lambda m: _linkonce(m, m["group"] in pure, inlined_below), text)
    return re.sub(r" #\d+", "", text.replace(" spir_func ", " "))


def _linkonce(definition: re.Match[str], pure: bool, inlined_below: int) -> str:
    inline = " alwaysinline" if definition["body"].count("\n") < inlined_below else ""
    memory = " memory(none)" if pure else ""
    attributes = f"{inline} nounwind willreturn{memory}"
    return f"define linkonce_odr {definition['head']}{attributes} {{\n{definition['body']}}}"


@functools.cache
def _contents() -> tuple[dict[str, str], dict[str, bytes]]:
    with zipfile.ZipFile(_file()) as archive:
        index: dict[str, str] = json.loads(archive.read(_INDEX))
        entries = (_entry(group, form) for group in set(index.values()) for form in _INLINED_BELOW)
        return index, {entry: archive.read(entry) for entry in entries}


def _file() -> Path:
    return _SHIPPED if _SHIPPED.exists() else _cached()


def _cached() -> Path:
    """The archive for these sources in the cache, built if it is not there."""
    digest = hashlib.sha256(
        " ".join((*_FLAGS, llvm.__name__, str(llvm.llvm_version_info))).encode()
    )
    for source in (*sorted(_SOURCES.iterdir()), Path(__file__)):
        digest.update(source.read_bytes())
    root = os.environ.get("METALGEN_CACHE_DIR") or Path.home() / ".cache" / "metalgen"
    path = Path(root) / f"runtime-{digest.hexdigest()[:16]}.zip"
    if not path.exists():
        build(path)
    return path


def bitcode_defining(names: set[str], *, inlined: bool = True) -> list[bytes]:
    """The bitcode modules that together define `names`, functions of maths/*.cpp.

    Unless they are to be `inlined`, all but the shortest are called.
    """
    index, modules = _contents()
    form = "inlined" if inlined else "called"
    return [modules[_entry(group, form)] for group in sorted({index[name] for name in names})]
