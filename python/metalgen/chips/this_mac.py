"""Which chip a Mac has: its GPU's name from Metal, its GPU's cores from the I/O registry."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from metalgen.chips.database import Chip, find_chip, recognise

_COMMAND = ("ioreg", "-rc", "AGXAccelerator", "-d", "1")
_NAME = ("sysctl", "-n", "machdep.cpu.brand_string")  # as Metal names the GPU: "Apple M2 Pro"
_COUNT = re.compile(r'"gpu-core-count"\s*=\s*(\d+)')


def gpu_cores() -> int | None:
    """How many cores this machine's Apple GPU has; None where that cannot be asked."""
    try:
        done = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _COUNT.search(done.stdout)
    return None if found is None else int(found[1])


def this_chip() -> Chip | None:
    """The chip of this machine; None where it is no Mac with Apple silicon."""
    if sys.platform != "darwin":
        return None
    try:
        done = subprocess.run(_NAME, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return chip_of(done.stdout.strip())


def default_chip(device: str = "") -> Chip:
    """The chip to predict for: METALGEN_CHIP, else the one behind `device`, else an M4 Max.

    The M4 Max is what the study that metalgen realises was made on. Raises UnsupportedError for a
    METALGEN_CHIP that is not known.
    """
    asked = os.environ.get("METALGEN_CHIP")
    if asked:
        return find_chip(asked)
    return chip_of(device) or find_chip("M4 Max")


def chip_of(device: str) -> Chip | None:
    """The chip behind an MTLDevice's name on this machine; None for what is no Apple GPU."""
    if recognise(device) is None:
        return None
    return recognise(device, gpu_cores())
