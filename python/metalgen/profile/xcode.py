"""Pictures of a GPU trace from Xcode, by AppleScript: what the sub-agent is shown on a Mac."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from metalgen.errors import ToolchainError, UnsupportedError
from metalgen.proposers.prompts import Picture
from metalgen.templating import environment

_TIMEOUT = 300.0  # seconds; large traces take minutes to open
_PNG = b"\x89PNG\r\n\x1a\n"

# What AppleScript says of frequent failures, and what to do about each.
_REMEDIES = {
    "-25211": "allow this terminal to control the computer: System Settings, Privacy & Security, "
    "Accessibility",
    "-1719": "allow this terminal to control the computer: System Settings, Privacy & Security, "
    "Accessibility",
    "-1743": "allow this terminal to control Xcode: System Settings, Privacy & Security, "
    "Automation",
    "-1728": "install Xcode and open it once",
    "1001": "open the trace in Xcode by hand to see whether it is whole",
}


@dataclass(frozen=True, slots=True)
class View:
    """A view of Xcode's GPU trace: the label in its navigator, and the picture's name."""

    label: str
    name: str


VIEWS = (
    View("Summary", "summary"),
    View("Memory", "memory"),
    View("Performance", "timeline"),
    View("Counters", "counters"),
)


def screenshots(trace: Path, *, osascript: str = "osascript") -> tuple[Picture, ...]:
    """A picture of each view that Xcode shows of `trace`.

    Raises UnsupportedError where there is no osascript, ToolchainError, with the remedy, where
    Xcode cannot be driven or shows nothing.
    """
    with tempfile.TemporaryDirectory(prefix="metalgen-trace-") as folder:
        files = {view: Path(folder) / f"{view.name}.png" for view in VIEWS}
        _run(script(trace, files), osascript)
        found = tuple(
            Picture(view.name, data)
            for view, file in files.items()
            if file.is_file() and (data := file.read_bytes()).startswith(_PNG)
        )
    if not found:
        raise ToolchainError(
            f"Xcode showed none of {', '.join(view.label for view in VIEWS)} for '{trace}'; open "
            f"it by hand"
        )
    return found


def script(trace: Path, files: dict[View, Path]) -> str:
    """The AppleScript that opens `trace` and takes the pictures."""
    templates = environment("profile")
    templates.filters["quoted"] = quoted
    views = [{"label": view.label, "file": str(file)} for view, file in files.items()]
    return templates.get_template("screenshots.applescript.j2").render(
        trace=str(trace.resolve()), name=trace.name, views=views, seconds=120, replay_seconds=10
    )


def quoted(text: str) -> str:
    """A string as AppleScript writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _run(text: str, osascript: str) -> None:
    try:
        done = subprocess.run(
            [osascript, "-"],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise UnsupportedError("not supported: pictures of a GPU trace, which need a Mac") from None
    except subprocess.TimeoutExpired:
        raise ToolchainError(
            f"Xcode took more than {_TIMEOUT:.0f} s to show the trace; open it by hand"
        ) from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        remedy = next((text for code, text in _REMEDIES.items() if f"({code})" in reason), "")
        raise ToolchainError(f"Xcode cannot be driven: {reason}{'; ' if remedy else ''}{remedy}")
