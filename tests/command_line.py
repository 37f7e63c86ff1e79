"""The command line as its users run it: a process, its output and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def metalgen(
    *arguments: str | os.PathLike[str],
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m metalgen` with `arguments`, wide enough that nothing is wrapped."""
    return subprocess.run(
        [sys.executable, "-m", "metalgen", *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **(environment or {})},
        cwd=cwd,
        check=False,
    )
