"""Write files whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

# Of the files that are being written; a writer that is killed leaves one.
TEMPORARY_PREFIX = ".metalgen-writing-"


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step; raises OSError and leaves nothing behind if it cannot.

    What is not a file, a pipe or /dev/stdout, is written to as it is.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # not one the user never named
        raise
