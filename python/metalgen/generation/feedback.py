"""What a model is told of the compiler's warnings: a few lines, each without its picture."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 5
_LONGEST = 200  # characters of a line


def brief_warnings(warnings: Sequence[str]) -> list[str]:
    """The first line of each of the first warnings, `kernels.metal:3:7: warning: ...`."""
    lines = list(dict.fromkeys(warning.partition("\n")[0].strip() for warning in warnings))
    kept = [line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…" for line in lines[:_MOST]]
    left = len(lines) - len(kept)
    return [*kept, f"and {left} more"] if left else kept
