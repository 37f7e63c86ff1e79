"""What the commands that judge candidates end with, and how errors reach the user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from metalgen.errors import MetalgenError, ProblemError, ProviderError, ToolchainError

ACCEPTED = 0
NOT_ACCEPTED = 1
USAGE = 2
BAD_PROBLEM = 3
PROVIDER_FAILED = 4
TOOLCHAIN_MISSING = 5
INTERRUPTED = 130

EPILOG = (
    "Exit codes: 0 accepted, 1 no candidate accepted, 2 wrong usage, 3 the problem file cannot be"
    " used, 4 a model service or its credentials failed, 5 a compiler or other tool is missing,"
    " 130 interrupted."
)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print metalgen's errors as one line and end with the code that belongs to them."""
    try:
        yield
    except ProblemError as error:
        _fail(error, BAD_PROBLEM)
    except ProviderError as error:
        _fail(error, PROVIDER_FAILED)
    except ToolchainError as error:
        _fail(error, TOOLCHAIN_MISSING)
    except MetalgenError as error:
        _fail(error, NOT_ACCEPTED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _fail(error: MetalgenError, code: int) -> None:
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(code) from None
