"""Run the clang of the ziglang wheel: find it, give it a source on stdin, bound its time."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.errors import CompileError, ToolchainError

TIME_LIMIT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class ClangResult:
    """What one run of clang left behind."""

    returncode: int
    output: str
    errors: str


def find_zig() -> Path:
    """The ziglang wheel's executable; ToolchainError if the wheel is not installed."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise ToolchainError("the ziglang package is missing: pip install ziglang")
    name = "zig.exe" if os.name == "nt" else "zig"
    executable = Path(spec.origin).with_name(name)
    if not executable.is_file():
        raise ToolchainError(
            f"the ziglang package has no {name}: pip install --force-reinstall ziglang"
        )
    return executable


def run_clang(arguments: Sequence[str], source: str, what: str) -> ClangResult:
    """Run `clang -cc1` on `source`; `what` names the source in errors.

    Raises CompileError if clang takes longer than a minute and ToolchainError if it dies.
    """
    command = [str(find_zig()), "clang", "-cc1", *arguments, "-"]
    # An empty directory: `#include "x"` in a source from stdin would look into the current one.
    with tempfile.TemporaryDirectory(prefix="metalgen-") as empty:
        try:
            done = subprocess.run(
                command,
                input=source.encode(),
                capture_output=True,
                cwd=empty,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CompileError(
                f"{what}: error: compiling took longer than {TIME_LIMIT:g} seconds"
            ) from None
        except OSError as error:
            raise ToolchainError(f"cannot run {command[0]}: {error.strerror}") from error
    errors = done.stderr.decode(errors="replace")
    if done.returncode not in (0, 1):
        raise ToolchainError(f"clang failed with status {done.returncode}: {_last_line(errors)}")
    return ClangResult(done.returncode, done.stdout.decode(errors="replace"), errors)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
