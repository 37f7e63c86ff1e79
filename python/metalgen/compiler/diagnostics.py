"""Diagnostics as users expect them: every error, their own file, line, column and words."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from metalgen.compiler.complaints import Complaint
from metalgen.compiler.preprocess import Origin, Preprocessed
from metalgen.compiler.rewrite import Translation
from metalgen.compiler.tokens import Token, tokenize
from metalgen.compiler.words import is_made_up, is_refusal, metal_message
from metalgen.errors import CompileError

_DIAGNOSTIC = re.compile(
    r"^(?P<file>.*?):(?P<line>\d+):(?P<column>\d+): (?P<severity>fatal error|error|warning|note): "
    r"(?P<message>.*)$"
)
_UNPLACED = re.compile(r"^(?P<severity>fatal error|error): (?P<message>.*)$")
_STDIN = "<stdin>"


@dataclass(frozen=True, slots=True)
class Listing:
    """The source as given, directories whose files may be quoted, and those of our headers."""

    name: str
    source: str
    directories: tuple[str, ...]
    own: tuple[str, ...]

    def is_own(self, file: str) -> bool:
        """Whether a file is one of metalgen's headers, or none at all."""
        return file.startswith((*self.own, "<scratch space>", "<built-in>"))

    def line(self, origin: Origin) -> str | None:
        """The text of a line, None if the file may not be shown."""
        if origin.file == self.name:
            lines = self.source.split("\n")
        elif any(Path(origin.file).resolve().is_relative_to(d) for d in self.directories):
            try:
                lines = Path(origin.file).read_text(errors="replace").split("\n")
            except OSError:
                return None
        else:
            return None
        return lines[origin.line - 1].rstrip("\r") if 0 < origin.line <= len(lines) else None


@dataclass(frozen=True, slots=True)
class _Place:
    origin: Origin
    column: int  # from 1
    is_echo: bool = False


@dataclass(frozen=True, slots=True)
class _Message:
    severity: str
    text: str
    place: _Place | None
    is_echo: bool = False


def names_unsupported(errors: str, complaints: Iterable[Complaint]) -> bool:
    """Whether something is refused by its name, by clang's errors or the front end's complaints."""
    lines = (line.partition(" error: ")[2] for line in errors.splitlines())
    return any(is_refusal(complaint.message) for complaint in complaints) or any(
        is_refusal(metal_message(text)) for text in lines if text
    )


def failure(
    listing: Listing,
    preprocessed: Preprocessed | None,
    translation: Translation | None,
    complaints: Iterable[Complaint],
    errors: str,
) -> CompileError:
    """The error that shows what clang wrote on stderr and the front end's own complaints."""
    messages: list[_Message] = []
    for complaint in complaints:
        assert preprocessed is not None
        place = _place_in_source(listing, preprocessed, complaint.offset)
        messages.append(_Message("error", complaint.message, place))
    groups = [[message] for message in messages]
    for group in _clang_groups(listing, preprocessed, translation, errors):
        if group[0].severity != "error":
            continue
        groups.append(_outside_of_headers(listing, group))
    # What else is wrong may come of what is missing.
    groups = [group for group in groups if is_refusal(group[0].text)] or groups
    groups = _without_echoes(groups)
    groups.sort(key=lambda group: _position(listing, group))
    shown = [_show(listing, message) for group in groups for message in group]
    return CompileError(
        "\n".join(shown) or f"{listing.name}: error: clang failed without a message"
    )


def warning_texts(
    listing: Listing,
    preprocessed: Preprocessed | None,
    translation: Translation | None,
    errors: str,
) -> list[str]:
    """What clang warned of in the user's own files, one text each, in the order of the source."""
    groups = [
        [group[0], *(note for note in group[1:] if not _is_in_headers(listing, note))]
        for group in _clang_groups(listing, preprocessed, translation, errors)
        if group[0].severity == "warning" and _is_users_own(listing, group[0])
    ]
    groups = _without_echoes(groups)
    groups.sort(key=lambda group: _position(listing, group))
    return ["\n".join(_show(listing, message) for message in group) for group in groups]


def _is_users_own(listing: Listing, message: _Message) -> bool:
    """Whether a message is about what the user wrote, not about what was added to it."""
    return message.place is not None and not (_is_echo(message) or _is_in_headers(listing, message))


def _position(listing: Listing, group: list[_Message]) -> tuple[int, int, int]:
    """Files included come before the source, what has no place behind it."""
    place = group[0].place
    if place is None:
        return (2, 0, 0)
    if place.origin.file != listing.name:
        return (0, 0, 0)
    return (1, place.origin.line, place.column)


def _clang_groups(
    listing: Listing,
    preprocessed: Preprocessed | None,
    translation: Translation | None,
    errors: str,
) -> list[list[_Message]]:
    """Errors and warnings, each with the notes behind it."""
    groups: list[list[_Message]] = []
    for line in errors.split("\n"):
        message = _read(listing, preprocessed, translation, line)
        if message is None:
            continue
        if message.severity == "note":
            if groups:
                groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def _read(
    listing: Listing,
    preprocessed: Preprocessed | None,
    translation: Translation | None,
    line: str,
) -> _Message | None:
    found = _DIAGNOSTIC.match(line)
    if not found:
        unplaced = _UNPLACED.match(line)
        return _Message("error", metal_message(unplaced["message"]), None) if unplaced else None
    row, column = int(found["line"]), int(found["column"])
    severity = "error" if found["severity"] == "fatal error" else found["severity"]
    place = _Place(Origin(found["file"], row), column)
    if preprocessed is not None and translation is not None and found["file"] == _STDIN:
        place = _translated(listing, preprocessed, translation, row, column)
    text = found["message"]
    return _Message(severity, metal_message(text), place, is_made_up(text))


def _translated(
    listing: Listing,
    preprocessed: Preprocessed,
    translation: Translation,
    row: int,
    column: int,
) -> _Place:
    """The place in the source of a row and column of the rewritten text."""
    rewritten = translation.rewritten
    offset = rewritten.offset_at(row, column)
    place = _place_in_source(listing, preprocessed, rewritten.source_offset(offset))
    return replace(place, is_echo=place.is_echo or rewritten.is_echo(offset))


def _place_in_source(listing: Listing, preprocessed: Preprocessed, offset: int) -> _Place:
    """The place in the user's file of an offset in the preprocessed text.

    Spaces change and macros are expanded on the way, so tokens of the two lines are matched.
    """
    text = preprocessed.written
    offset, is_echo = preprocessed.written_offset(offset)
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)]
    origin = preprocessed.origins[min(text.count("\n", 0, offset), len(preprocessed.origins) - 1)]
    original = listing.line(origin)
    column = offset - start
    if original is None:
        return _Place(origin, column + 1, is_echo)
    return _Place(origin, _matching_column(line, column, original) + 1, is_echo)


def _matching_column(line: str, column: int, original: str) -> int:
    here, there = tokenize(line), tokenize(original)
    starts = [token.start for token in here]
    at = max(0, bisect.bisect_right(starts, column) - 1)
    if not here or not there:
        return len(original) - len(original.lstrip())
    matcher = difflib.SequenceMatcher(
        None, [token.text for token in here], [token.text for token in there], autojunk=False
    )
    for _, first, last, other, other_last in matcher.get_opcodes():
        if first <= at < last:
            if last - first == other_last - other:
                within = min(column - here[at].start, len(there[other + at - first].text))
                return there[other + at - first].start + within
            return _macro_before(here, there, min(other_last, len(there) - 1)).start
    return there[-1].start


def _macro_before(here: list[Token], there: list[Token], last: int) -> Token:
    """The macro whose expansion goes on at `there[last]`: a name that is gone from `here`."""
    expanded = {token.text for token in here}
    for token in reversed(there[: last + 1]):
        if token.kind == "identifier" and token.text not in expanded:
            return token
    return there[last]


def _outside_of_headers(listing: Listing, group: list[_Message]) -> list[_Message]:
    """The group without notes on metalgen's headers; an error in them shows who caused it."""
    error, *notes = group
    shown = [note for note in notes if not _is_in_headers(listing, note)]
    if _is_in_headers(listing, error) and shown:
        # The last of the notes "in instantiation of ... requested here" is the user's own line.
        error = replace(error, place=shown[0].place)
        shown = shown[1:]
    return [error, *shown]


def _is_in_headers(listing: Listing, message: _Message) -> bool:
    return message.place is not None and listing.is_own(message.place.origin.file)


def _without_echoes(groups: list[list[_Message]]) -> list[list[_Message]]:
    """Without repetitions, and without errors in inserted text if there are others."""
    unique: list[list[_Message]] = []
    for group in groups:
        if not any(_same(group[0], other[0]) for other in unique):
            unique.append(group)
    return [group for group in unique if not _is_echo(group[0])] or unique


def _is_echo(message: _Message) -> bool:
    return message.is_echo or (message.place is not None and message.place.is_echo)


def _same(one: _Message, other: _Message) -> bool:
    return one.text == other.text and (
        one.place == other.place
        or (
            one.place is not None
            and other.place is not None
            and (one.place.origin, one.place.column) == (other.place.origin, other.place.column)
        )
    )


def _show(listing: Listing, message: _Message) -> str:
    if message.place is None:
        return f"{listing.name}: {message.severity}: {message.text}"
    origin = message.place.origin
    shown = (
        f"{origin.file}:{origin.line}:{message.place.column}: {message.severity}: {message.text}"
    )
    line = listing.line(origin)
    if line is None:
        return shown
    indent = re.sub(r"[^\t]", " ", line[: message.place.column - 1])
    return f"{shown}\n{line}\n{indent}^"
