"""metalgen's Metal headers, compiled ahead once per set of options so that sources start fast."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.compiler.toolchain import run_clang

_HERE = Path(__file__).resolve().parent
HEADERS = _HERE / "include"
SUPPORT = _HERE / "support"
PREFIX = HEADERS / "metalgen" / "prefix.h"
_ALL = (PREFIX, HEADERS / "metal_stdlib", SUPPORT / "kernel_support.h")

_PRECOMPILED, _MACROS, _STUBS = "headers.pch", "macros.h", "stubs"


@dataclass(frozen=True, slots=True)
class HeaderArguments:
    """Arguments of clang that bring in the headers, and the directories they lie in."""

    preprocessing: list[str]
    compiling: list[str]
    directories: tuple[Path, ...] = (HEADERS, SUPPORT)


def header_arguments(language: Sequence[str], cache: Path | None) -> HeaderArguments:
    """How to include all headers into a source compiled with the arguments `language`.

    They are compiled once into a directory of `cache`: a precompiled header, and for the
    preprocessor their macros, with empty files in the place of the headers themselves. Where
    nothing can be kept, the headers are read as text.
    """
    if cache is not None:
        directory = cache / f"headers-{_digest(tuple(language))}"
        if directory.is_dir() or _prepare(language, directory):
            return _prepared(directory)
    return HeaderArguments(
        ["-internal-isystem", str(HEADERS), "-include", str(PREFIX)],
        ["-internal-isystem", str(HEADERS), *_includes()],
    )


def _prepared(directory: Path) -> HeaderArguments:
    return HeaderArguments(
        ["-internal-isystem", str(directory / _STUBS), "-include", str(directory / _MACROS)],
        # The directory's name says the content; clang's own check goes by time and would refuse
        # the same headers in a fresh checkout.
        ["-include-pch", str(directory / _PRECOMPILED), "-fno-validate-pch"],
        (HEADERS, SUPPORT, directory),
    )


def _includes() -> list[str]:
    return [part for header in _ALL for part in ("-include", str(header))]


def _prepare(language: Sequence[str], directory: Path) -> bool:
    """Make `directory`, whole or not at all."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix="headers-", suffix=".tmp"))
    except OSError:
        return False
    try:
        if not _compile_headers(language, temporary):
            return False
        with contextlib.suppress(OSError):  # somebody else was faster
            temporary.rename(directory)
        return directory.is_dir()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _compile_headers(language: Sequence[str], directory: Path) -> bool:
    source = "".join(f'#include "{header}"\n' for header in _ALL)
    arguments = [*language, "-internal-isystem", str(HEADERS)]
    precompiled = [*arguments, "-emit-pch", "-o", str(directory / _PRECOMPILED)]
    macros = run_clang([*arguments, "-E", "-dM", "-o", "-"], source, "the Metal headers")
    if macros.returncode or run_clang(precompiled, source, "the Metal headers").returncode:
        return False  # the user's own compilation will show the errors
    defined = [_definition(line) for line in macros.output.splitlines() if line]
    (directory / _MACROS).write_text("".join(defined))
    for header in HEADERS.rglob("*"):
        if header.is_file():
            stub = directory / _STUBS / header.relative_to(HEADERS)
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.touch()
    return True


def _definition(line: str) -> str:
    """A macro's definition that leaves what the user has defined as it is."""
    name = line.split(" ")[1].partition("(")[0]
    return f"#ifndef {name}\n{line}\n#endif\n"


@functools.lru_cache(maxsize=16)
def _digest(language: tuple[str, ...]) -> str:
    """A name for these headers as these arguments and this clang see them."""
    digest = hashlib.sha256(repr((language, importlib.metadata.version("ziglang"))).encode())
    for file in sorted(path for root in (HEADERS, SUPPORT) for path in root.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            digest.update(repr((str(file), len(content))).encode())
            digest.update(content)
    return digest.hexdigest()[:32]
