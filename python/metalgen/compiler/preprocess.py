"""The preprocessor's output without metalgen's headers, and which file each line came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from metalgen.compiler.edits import Edits, Rewritten

_MARKER = re.compile(r'^# (\d+) "((?:[^"\\]|\\.)*)"((?: \d)*)\s*$')
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of a source file; lines count from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """The user's part of the text, without line markers, and what each line came from."""

    text: str
    origins: tuple[Origin, ...]
    files: tuple[str, ...]  # every file that was entered, in order
    changes: tuple[Rewritten, ...] = ()  # how `text` came from what the preprocessor wrote
    unchanged: str | None = None  # what it wrote, if `text` was changed

    @property
    def written(self) -> str:
        """What the preprocessor wrote."""
        return self.text if self.unchanged is None else self.unchanged

    def changed_by(self, edits: Edits) -> Preprocessed:
        """The same source after `edits` of its text."""
        change = edits.apply()
        return replace(
            self, text=change.text, changes=(*self.changes, change), unchanged=self.written
        )

    def written_offset(self, offset: int) -> tuple[int, bool]:
        """The offset in what was written of one in `text`, and whether it is an echo."""
        is_echo = False
        for change in reversed(self.changes):
            is_echo = is_echo or change.is_echo(offset)
            offset = change.source_offset(offset)
        return offset, is_echo


def read_preprocessed(output: str, main: str, own: tuple[str, ...]) -> Preprocessed:
    """Take apart what `clang -E` wrote about the source `main`.

    Files whose paths start with one of `own` are metalgen's headers; they are left out, since every
    compilation includes them by itself.
    """
    reader = _Reader(main, own)
    for line in output.split("\n"):
        reader.take(line)
    return reader.result()


class _Reader:
    def __init__(self, main: str, own: tuple[str, ...]) -> None:
        self.main = main
        self.own = own
        self.is_shown = False
        self.current = Origin(main, 1)
        self.started = False
        self.lines: list[str] = []
        self.origins: list[Origin] = []
        self.files: list[str] = []

    def take(self, line: str) -> None:
        marker = _MARKER.match(line) if line.startswith("# ") else None
        if marker:
            self._enter(int(marker[1]), _ESCAPE.sub(r"\1", marker[2]), marker[3].split())
            return
        if self.is_shown:
            self.lines.append(line)
            self.origins.append(self.current)
        self.current = Origin(self.current.file, self.current.line + 1)

    def _enter(self, line: int, file: str, flags: list[str]) -> None:
        self.started = self.started or file == self.main
        if "1" in flags and not file.startswith("<"):
            self.files.append(file)
        self.current = Origin(file, line)
        self.is_shown = self.started and not file.startswith(self.own)

    def result(self) -> Preprocessed:
        return Preprocessed("\n".join(self.lines), tuple(self.origins), tuple(self.files))
