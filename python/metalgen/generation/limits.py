"""What a worker process may use and see: processor time, memory, files, environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_SECRET = re.compile(
    r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|^(?:OPENAI|ANTHROPIC|AWS|AZURE|GOOGLE|GEMINI|HF|"
    r"HUGGING|GITHUB|GITLAB|KAGGLE|WANDB)_",
    re.IGNORECASE,
)
MAX_FILE_BYTES = 2 << 30


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without anything that may be a credential."""
    return {name: value for name, value in environment.items() if not _SECRET.search(name)}


def limit_this_process(memory_bytes: int) -> None:
    """No core files, no huge files, and at most `memory_bytes` beyond what is mapped now."""
    import resource

    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    if sys.platform.startswith("linux"):  # macOS does not enforce it
        _lower(resource.RLIMIT_AS, _mapped_bytes() + memory_bytes)


def limit_processor_time(seconds: float) -> None:
    """At most `seconds` more of processor time: ends loops even where the parent is gone."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _lower(limit: int, value: int) -> None:
    import resource

    soft, hard = resource.getrlimit(limit)
    known = [each for each in (value, soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(limit, (min(known), hard))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python or PyTorch could not allocate something."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def default_memory_bytes() -> int:
    """Three quarters of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
