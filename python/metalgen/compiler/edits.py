"""Changes to a text that never move anything to another line, and the way back from them."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `text[start:end]`; errors inside the replacement are shown at `anchor`.

    An echo repeats what the text says elsewhere, so its errors do as well.
    """

    start: int
    end: int
    replacement: str
    anchor: int
    is_echo: bool = False


@dataclass
class Edits:
    """Collects changes to `text`; they may nest only if the outer one is a pure insertion."""

    text: str
    changes: list[Edit] = field(default_factory=list)

    def replace(self, start: int, end: int, replacement: str, anchor: int | None = None) -> None:
        """Put `replacement` in the place of `text[start:end]`, keeping its line breaks."""
        breaks = "\n" * self.text.count("\n", start, end)
        anchor = start if anchor is None else anchor
        self.changes.append(Edit(start, end, replacement + breaks, anchor))

    def remove(self, start: int, end: int) -> None:
        """Take out `text[start:end]`."""
        self.replace(start, end, " ")

    def insert(self, at: int, addition: str) -> None:
        """Put `addition` in front of what is at offset `at`."""
        self.replace(at, at, addition)

    def insert_echo(self, at: int, addition: str, anchor: int) -> None:
        """Put at offset `at` what only repeats what is said at `anchor`."""
        self.changes.append(Edit(at, at, addition, anchor, is_echo=True))

    def apply(self) -> Rewritten:
        """The changed text."""
        parts: list[str] = []
        pieces: list[_Piece] = []
        written = taken = 0
        for edit in sorted(self.changes, key=lambda edit: (edit.start, edit.end)):
            if edit.start < taken:
                continue  # inside a stretch that is replaced already
            kept = self.text[taken : edit.start]
            pieces.append(_Piece(written, taken, None))
            written += len(kept)
            pieces.append(_Piece(written, edit.start, edit.anchor, edit.is_echo))
            written += len(edit.replacement)
            parts += [kept, edit.replacement]
            taken = edit.end
        pieces.append(_Piece(written, taken, None))
        parts.append(self.text[taken:])
        return Rewritten("".join(parts), tuple(pieces))


@dataclass(frozen=True, slots=True)
class _Piece:
    """From offset `written` on, the text is the original's from `source`, or shown at `anchor`."""

    written: int
    source: int
    anchor: int | None
    is_echo: bool = False


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A changed text that knows where each of its characters came from."""

    text: str
    pieces: tuple[_Piece, ...]

    def offset_at(self, row: int, column: int) -> int:
        """The offset here of a row and a column, from 1, columns in bytes as clang counts."""
        lines = self.text.split("\n")
        if row > len(lines):
            return len(self.text)
        before = lines[row - 1].encode()[: column - 1].decode(errors="replace")
        return sum(len(line) + 1 for line in lines[: row - 1]) + len(before)

    def source_offset(self, offset: int) -> int:
        """The offset in the original text of what is at `offset` here."""
        piece = self._piece(offset)
        return piece.source + offset - piece.written if piece.anchor is None else piece.anchor

    def is_echo(self, offset: int) -> bool:
        """Whether what is at `offset` repeats what the original text says elsewhere."""
        return self._piece(offset).is_echo

    def _piece(self, offset: int) -> _Piece:
        starts = [piece.written for piece in self.pieces]
        return self.pieces[max(0, bisect.bisect_right(starts, offset) - 1)]
