"""From exceptions to what a user sees: one line on stderr and an exit status, never a traceback."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

import typer

from metalgen.errors import (
    CompileError,
    MetalgenError,
    MetallibError,
    PackError,
    ProblemError,
    ProviderError,
    RunError,
    ToolchainError,
)

Command = TypeVar("Command", bound=Callable[..., object])


class Status(IntEnum):
    """What the command line leaves with."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    BAD_INPUT = 3
    SERVICE_FAILED = 4
    UNAVAILABLE = 5
    INTERNAL = 70
    INTERRUPTED = 130


STATUS_HELP = (
    "Exit status: 0 done; 1 refused (compile errors, no candidate accepted); 2 wrong usage; "
    "3 an input file cannot be used; 4 a model service failed; 5 a tool, device or file is missing "
    "or failing; 70 an error in metalgen itself; 130 interrupted."
)

_STATUS: tuple[tuple[type[Exception], Status], ...] = (
    (MetallibError, Status.BAD_INPUT),
    (ProblemError, Status.BAD_INPUT),
    (PackError, Status.BAD_INPUT),
    (ProviderError, Status.SERVICE_FAILED),
    (RunError, Status.UNAVAILABLE),
    (ToolchainError, Status.UNAVAILABLE),
    (OSError, Status.UNAVAILABLE),
    (MetalgenError, Status.REFUSED),
)


def guarded(command: Command) -> Command:
    """`command`, with every way in which it can fail turned into a message and a status."""

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> object:
        warnings.showwarning = _show_warning
        try:
            result = command(*args, **kwargs)
            # Whoever reads what was printed may have gone; only flushing tells.
            sys.stdout.flush()
            return result
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(reported(error)) from None

    return run  # type: ignore[return-value]


def reported(error: Exception | KeyboardInterrupt) -> Status:
    """Say on stderr what `error` means; the status to leave with."""
    if isinstance(error, BrokenPipeError):
        _discard_output()
        return Status.OK
    if isinstance(error, KeyboardInterrupt):
        folder = getattr(error, "folder", None)
        _say(f"metalgen: interrupted{f'; to go on: metalgen resume {folder}' if folder else ''}")
        return Status.INTERRUPTED
    _say(_message(error))
    if os.environ.get("METALGEN_TRACEBACK"):
        traceback.print_exception(error)
    return _status(error)


def _message(error: Exception) -> str:
    if isinstance(error, CompileError):
        return str(error)  # diagnostics, each with its own file and line
    if isinstance(error, MetalgenError):
        return f"metalgen: error: {error}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"metalgen: error: {where}{error.strerror or error}"
    # Whatever the text holds, one line of it.
    text = " ".join(str(error).split())
    return (
        f"metalgen: internal error: {type(error).__name__}: {text}; "
        "METALGEN_TRACEBACK=1 shows where"
    )


def _status(error: Exception) -> Status:
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return Status.INTERNAL


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"metalgen: warning: {message}")


def _discard_output() -> None:
    """Let the interpreter's own flush at exit go nowhere rather than fail."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
