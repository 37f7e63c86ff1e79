"""Run the clang of the ziglang wheel: find it, give it a source on stdin, bound what it takes."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.errors import CompileError, ToolchainError

# Seconds of the processor's time, or on the clock where that cannot be limited.
TIME_LIMIT = 60.0  # of sources that nobody vouches for
LONG_TIME_LIMIT = 600.0  # libraries of kernels may have hundreds in one source
_CLOCK_FACTOR = 10  # how much longer it may take on the clock, where a busy machine delays it
MEMORY_LIMIT = 4 << 30  # bytes
OUTPUT_LIMIT = 512 << 20  # bytes


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


def run_clang(
    arguments: Sequence[str], source: str, what: str, time_limit: float | None = None
) -> ClangResult:
    """Run `clang -cc1` on `source`; `what` names the source in errors.

    `time_limit` is in seconds, TIME_LIMIT if not given.

    Raises CompileError if clang takes too much time or memory and ToolchainError if it dies.
    """
    command = [str(find_zig()), "clang", "-cc1", *arguments, "-"]
    # In an empty directory: `#include "x"` in a source from stdin looks into the current one.
    with tempfile.TemporaryDirectory(prefix="metalgen-") as directory:
        limit = TIME_LIMIT if time_limit is None else time_limit
        result = _run(command, source.encode(errors="replace"), what, Path(directory), limit)
    if result.returncode not in (0, 1):
        if "out of memory" in result.errors or "bad_alloc" in result.errors:
            raise CompileError(f"{what}: error: compiling took more memory than is allowed")
        message = _last_line(result.errors)
        raise ToolchainError(f"clang failed with status {result.returncode}: {message}")
    return result


def _run(
    command: list[str], source: bytes, what: str, directory: Path, time_limit: float
) -> ClangResult:
    """Through files, so that a source that expands without end fills no pipe into this process."""
    output, errors = directory / "output", directory / "errors"
    inside = directory / "empty"
    inside.mkdir()
    with output.open("wb") as output_file, errors.open("wb") as errors_file:
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output_file,
                stderr=errors_file,
                cwd=inside,
            ) as process:
                counts_time = _limit(process.pid, time_limit)
                on_clock = time_limit * (_CLOCK_FACTOR if counts_time else 1)
                is_late = _feed(process, source, on_clock) or _ran_too_long(process.returncode)
        except OSError as error:
            raise ToolchainError(f"cannot run {command[0]}: {error.strerror}") from error
    if is_late:
        raise CompileError(f"{what}: error: compiling took longer than {time_limit:g} seconds")
    if output.stat().st_size >= OUTPUT_LIMIT or errors.stat().st_size >= OUTPUT_LIMIT:
        raise CompileError(f"{what}: error: the source expands to more than {OUTPUT_LIMIT} bytes")
    return ClangResult(
        process.returncode,
        output.read_text(errors="replace"),
        errors.read_text(errors="replace"),
    )


def _feed(process: subprocess.Popen[bytes], source: bytes, time_limit: float) -> bool:
    """Hand over the source and wait; whether the process had to be ended.

    A timer, since waiting with a time limit polls, and would add to every compilation.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(time_limit, end)
    timer.daemon = True  # an interrupt that comes while it starts must not have us wait for it
    try:
        timer.start()
        process.communicate(source)
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()
    return late.is_set()


def _ran_too_long(returncode: int) -> bool:
    """Whether the system ended a process for the processor's time it took."""
    return sys.platform == "linux" and returncode == -signal.SIGXCPU


def _limit(process: int, time_limit: float) -> bool:
    """Bound what a process takes, where the system can; whether its time is bounded, too."""
    if sys.platform != "linux":
        return False
    import resource

    seconds = math.ceil(time_limit)
    limits = {
        resource.RLIMIT_AS: MEMORY_LIMIT,
        resource.RLIMIT_FSIZE: OUTPUT_LIMIT,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
    }
    with contextlib.suppress(OSError):  # it may have ended already
        for what, limit in limits.items():
            resource.prlimit(process, what, (limit, limit + (what == resource.RLIMIT_CPU)))
    return True


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
