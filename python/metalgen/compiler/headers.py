"""metalgen's Metal headers, compiled ahead once per set of options so that sources start fast."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.compiler.toolchain import run_clang

_HERE = Path(__file__).resolve().parent
_ROOTS = ("include", "support")
_PREFIX = "include/metalgen/prefix.h"
_OWN_WORDS = "include/metalgen/own_words.h"
_ALL = (
    _PREFIX,
    "include/metal_stdlib",
    "support/kernel_support.h",
    "include/metalgen/no_opencl.h",
)
_PRECOMPILED, _MACROS, _STUBS = "headers.pch", "macros.h", "stubs"
_PRECOMPILED_FAILED = ("precompiled header", "PCH file", "precompiled file", "AST file")


@dataclass(frozen=True, slots=True)
class HeaderArguments:
    """Arguments of clang that bring in the headers, and the directories they lie in."""

    preprocessing: list[str]
    compiling: list[str]
    directories: tuple[Path, ...]

    def failed(self, errors: str) -> bool:
        """Whether clang's errors are about what was compiled ahead, not about the source."""
        if "-include-pch" not in self.compiling:
            return False
        is_gone = not all(directory.is_dir() for directory in self.directories)
        lines = [line for line in errors.splitlines() if "error" in line]
        return is_gone or any(words in line for line in lines for words in _PRECOMPILED_FAILED)


def header_arguments(language: Sequence[str], cache: Path) -> HeaderArguments:
    """How to include all headers into a source compiled with the arguments `language`.

    They are kept in directories of `cache` that are named by their content: copies of the
    headers, and made from those a precompiled header and, for the preprocessor, their macros with
    empty files in the place of the headers. Where nothing can be kept, they are read as text.
    """
    sources = cache / f"headers-{_content_digest()}"
    compiled = cache / f"compiled-{_digest(tuple(language), str(sources))}"
    if _made(sources, _copy_headers) and _made(
        compiled, lambda directory: _compile_headers(language, sources, directory)
    ):
        stubs, macros = compiled / _STUBS, compiled / _MACROS
        return HeaderArguments(
            ["-internal-isystem", str(stubs), *_included(macros, sources / _OWN_WORDS)],
            ["-include-pch", str(compiled / _PRECOMPILED), "-fno-validate-pch"],
            (sources, compiled),
        )
    return text_arguments()


def text_arguments() -> HeaderArguments:
    """The same without anything compiled ahead."""
    directory = ["-internal-isystem", str(_HERE / "include")]
    return HeaderArguments(
        [*directory, *_included(_HERE / _PREFIX, _HERE / _OWN_WORDS)],
        [*directory, *_included(*(_HERE / header for header in _ALL))],
        tuple(_HERE / root for root in _ROOTS),
    )


def _included(*headers: Path) -> list[str]:
    return [part for header in headers for part in ("-include", str(header))]


def _made(directory: Path, make: Callable[[Path], bool]) -> bool:
    """Whether `directory` exists; if need be it is made now, whole or not at all."""
    if directory.is_dir():
        return True
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix="headers-", suffix=".tmp"))
    except OSError:
        return False
    try:
        if make(temporary):
            with contextlib.suppress(OSError):  # somebody else was faster
                temporary.rename(directory)
        return directory.is_dir()
    except OSError:
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_headers(directory: Path) -> bool:
    _write_files(directory, _contents())
    return True


def _write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _compile_headers(language: Sequence[str], sources: Path, directory: Path) -> bool:
    arguments = [*language, "-internal-isystem", str(sources / "include")]
    source = "".join(f'#include "{sources / header}"\n' for header in _ALL)
    macros = run_clang([*arguments, "-E", "-dM", "-o", "-"], source, "the Metal headers")
    precompiled = [*arguments, "-emit-pch", "-o", str(directory / _PRECOMPILED)]
    if macros.returncode or run_clang(precompiled, source, "the Metal headers").returncode:
        return False  # the user's own compilation will show the errors
    definitions = "".join(map(_definition, filter(None, macros.output.splitlines())))
    (directory / _MACROS).write_text(definitions)
    _write_files(directory / _STUBS, dict.fromkeys(_includable(_contents()), b""))
    return True


def _includable(names: Iterable[str]) -> list[str]:
    return [name.removeprefix("include/") for name in names if name.startswith("include/")]


def _definition(line: str) -> str:
    """A macro's definition that leaves what the user has defined as it is."""
    name = line.split(" ")[1].partition("(")[0]
    return f"#ifndef {name}\n{line}\n#endif\n"


@functools.lru_cache(maxsize=1)
def _contents() -> dict[str, bytes]:
    """The headers by their path."""
    return {
        str(path.relative_to(_HERE).as_posix()): path.read_bytes()
        for root in _ROOTS
        for path in sorted((_HERE / root).rglob("*"))
        if path.is_file()
    }


@functools.lru_cache(maxsize=1)
def _content_digest() -> str:
    return hashlib.sha256(repr(sorted(_contents().items())).encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=16)
def _digest(language: tuple[str, ...], sources: str) -> str:
    """A name for headers at one place as these arguments and this clang see them."""
    found = (language, sources, importlib.metadata.version("ziglang"))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:32]
