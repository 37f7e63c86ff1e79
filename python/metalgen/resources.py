"""Where metalgen's own files lie: prompt templates, kernel sources, what the build made of them.

In a checkout the sources are those of the working tree, so an edit counts at once; what the build
made lies where the package was installed. A wheel carries both.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from metalgen.errors import ToolchainError


def templates() -> Path:
    """The directory of the Jinja templates: prompts/ and kernels/."""
    return _source("templates")


def metal_sources() -> Path:
    """The directory of the kernel library's .metal files and headers."""
    return _source("metal")


def metallib() -> Path:
    """The kernel library, compiled when metalgen was built: for Metal 4 where macOS has it."""
    if _macos() >= 26:
        with suppress(ToolchainError):  # an Xcode before 26 built it
            return _built("metalgen-metal4.0.metallib")
    return _built("metalgen-metal3.1.metallib")


def metallib_maker() -> str:
    """Which compiler made it, Apple's or metalgen's own, with its version."""
    text = metallib().with_suffix(".json").read_text(encoding="utf-8")
    return str(json.loads(text)["compiler"])


def _macos() -> int:
    """The major version of macOS, 0 elsewhere."""
    if sys.platform != "darwin":
        return 0
    return int(platform.mac_ver()[0].split(".")[0])


def _checkout() -> Path | None:
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "src").is_dir() else None


def _source(name: str) -> Path:
    checkout = _checkout()
    return checkout / name if checkout is not None else _built(name)


def _data_directories() -> Iterator[Path]:
    # An editable install spreads the package over the checkout and the environment.
    for directory in sys.modules["metalgen"].__path__:
        yield Path(directory) / "data"


def _built(name: str) -> Path:
    for directory in _data_directories():
        if (directory / name).exists():
            return directory / name
    searched = ", ".join(str(directory) for directory in _data_directories())
    raise ToolchainError(f"metalgen was installed without {name} (searched {searched}): reinstall")
