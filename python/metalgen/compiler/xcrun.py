"""Compile with Apple's own compiler, `xcrun metal`, where Xcode is installed."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from metalgen.compiler.compiled import Compiled
from metalgen.compiler.includes import check_directives
from metalgen.compiler.options import CompileOptions, Standard
from metalgen.compiler.source import Source
from metalgen.errors import CompileError, ToolchainError

_TIME_LIMIT = 300.0  # seconds
# The first macOS that has each version of the language.
_MACOS_OF_STANDARD: dict[Standard, str] = {
    "metal3.0": "13.0",
    "metal3.1": "14.0",
    "metal3.2": "15.0",
    "metal4.0": "26.0",
}
_ERROR = re.compile(r"\berror: ")
_WARNING = re.compile(r"^.*?:\d+:\d+: warning: ", re.MULTILINE)
_COUNT = re.compile(r"^\d+ warnings? generated\.$", re.MULTILINE)


class XcrunToolchain:
    """`xcrun metal` per source, `xcrun metallib` over all."""

    name = "xcrun"

    @functools.cached_property
    def fingerprint(self) -> str:
        """The compiler's version; ToolchainError where Xcode has no Metal compiler."""
        done = _run(["metal", "--version"])
        if done.returncode:
            raise ToolchainError(
                f"xcrun has no Metal compiler: {_last_line(done.stderr)}; "
                "install it with 'xcodebuild -downloadComponent MetalToolchain'"
            )
        return done.stdout.decode(errors="replace")

    @property
    def description(self) -> str:
        """Apple's name and version of it."""
        return f"Apple's ({self.fingerprint.splitlines()[0]})"

    def compile(self, source: Source, options: CompileOptions) -> Compiled:
        """An AIR object; raises CompileError with what the compiler wrote."""
        if options.untrusted:
            check_directives(source.text, source.name)
        with tempfile.TemporaryDirectory(prefix="metalgen-") as directory:
            output = Path(directory) / "source.air"
            escaped = source.name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            text = f'#line 1 "{escaped}"\n{source.text}'
            done = _run([*_arguments(source, options), "-o", str(output), "-"], text, directory)
            told = done.stderr.decode(errors="replace").strip()
            if done.returncode:
                raise _failure(told, source.name)
            return Compiled(output.read_bytes(), _warnings(told))

    def link(self, objects: Sequence[bytes]) -> bytes:
        """One metallib of AIR objects."""
        with tempfile.TemporaryDirectory(prefix="metalgen-") as directory:
            paths = [Path(directory) / f"{number}.air" for number in range(len(objects))]
            for path, content in zip(paths, objects, strict=True):
                path.write_bytes(content)
            output = Path(directory) / "linked.metallib"
            done = _run(["metallib", *map(str, paths), "-o", str(output)])
            if done.returncode:
                raise CompileError(done.stderr.decode(errors="replace").strip())
            return output.read_bytes()


def has_xcrun() -> bool:
    """Whether this machine can have Apple's compiler at all."""
    return sys.platform == "darwin" and shutil.which("xcrun") is not None


def _arguments(source: Source, options: CompileOptions) -> list[str]:
    return [
        "metal",
        *("-x", "metal"),
        f"-std={options.standard}",
        f"-mmacosx-version-min={_MACOS_OF_STANDARD[options.standard]}",
        "-O2",
        *_math(options),
        "-fno-color-diagnostics",
        *(part for directory in source.include_dirs for part in ("-I", str(directory))),
        *(f"-D{name}={value}" for name, value in source.defines.items()),
        "-c",
    ]


def _math(options: CompileOptions) -> list[str]:
    """The modes that older compilers know too in the words that they know."""
    if options.math != "relaxed" and options.functions is None:
        return ["-ffast-math" if options.math == "fast" else "-fno-fast-math"]
    functions = "fast" if options.has_fast_functions else "precise"
    return [f"-fmetal-math-mode={options.math}", f"-fmetal-math-fp32-functions={functions}"]


def _run(
    arguments: list[str], text: str = "", directory: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = ["xcrun", "-sdk", "macosx", *arguments]
    try:
        return subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            cwd=directory,
            timeout=_TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CompileError(f"compiling took longer than {_TIME_LIMIT:g} seconds") from None
    except OSError as error:
        raise ToolchainError(f"cannot run xcrun: {error.strerror}; install Xcode") from error


def _warnings(told: str) -> tuple[str, ...]:
    """Each warning with the notes behind it."""
    told = _COUNT.sub("", told)
    starts = [found.start() for found in _WARNING.finditer(told)]
    ends = [*starts, len(told)][1:]
    return tuple(told[start:end].rstrip() for start, end in zip(starts, ends, strict=True))


def _failure(errors: str, name: str) -> CompileError | ToolchainError:
    if _ERROR.search(errors):
        return CompileError(errors)
    return ToolchainError(f"xcrun metal failed on {name}: {_last_line(errors.encode())}")


def _last_line(errors: bytes) -> str:
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
