"""A source to compile, and the hash of everything its compilation can read.

What a compilation reads is not known before it has run, and running even the preprocessor takes
longer than a cached compilation may. So the includes are followed here textually, in every branch
of every #if: all places where a header could be found are looked at, and both what is there and
that nothing is there goes into the hash. That reads too much rather than too little; where the text
does not say what is read (#include MACRO, __DATE__), there is no hash and nothing is cached.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SPLICE = re.compile(rb"\\[ \t]*\r?\n")
# Groups: the header's name, between < > or " "; or whatever else is there, a macro.
_HEADER = rb"""(?:<([^>\n]*)>|"([^"\n]*)"|(\S))"""
_BLANK = rb"(?:[ \t\f\v]|/\*.*?\*/)*"
# Anywhere in a line: a comment may stand, or end, in front of a directive. %: is another #.
_DIRECTIVE = re.compile(
    rb"[#:]%b(?:include|include_next|import|embed)\b%b%b" % (_BLANK, _BLANK, _HEADER)
)
_PROBE = re.compile(rb"__has_(?:include|include_next|embed)%b\(%b%b" % (_BLANK, _BLANK, _HEADER))
# Clang takes a zero byte for a blank; a text with one is not worth a thought.
_UNPREDICTABLE = (b"__DATE__", b"__TIME__", b"__TIMESTAMP__", b"\0")
_SIZE_LIMIT = 1 << 26  # bytes; more is no header


@dataclass(frozen=True, slots=True)
class Source:
    """Metal source text, and where its includes are looked for, in that order."""

    text: str
    name: str = "<source>"
    include_dirs: tuple[Path, ...] = ()
    defines: Mapping[str, str] = field(default_factory=dict)


def read_set_hash(source: Source) -> bytes | None:
    """The hash of the source and all it can include; None if that cannot be told from the text."""
    reader = _Reader(tuple(Path.cwd() / directory for directory in source.include_dirs))
    reader.add_text(repr((source.name, sorted(source.defines.items()))).encode())
    reader.follow(source.text.encode(), None)
    return reader.hash.digest() if reader.is_predictable else None


class _Reader:
    """Feeds one hash with every file that includes could reach, each followed once."""

    def __init__(self, directories: tuple[Path, ...]) -> None:
        self.directories = directories
        self.hash = hashlib.sha256()
        self.is_predictable = True
        self.seen: set[Path] = set()

    def add_text(self, text: bytes) -> None:
        # The length in front keeps two texts from being taken for one.
        self.hash.update(b"%d:" % len(text) + text)

    def follow(self, text: bytes, directory: Path | None) -> None:
        """Take in `text`, a file of `directory`, and what it includes."""
        self.add_text(text)
        joined = _SPLICE.sub(b"", text) if b"\\" in text else text
        if any(word in joined for word in _UNPREDICTABLE):
            self.is_predictable = False
        for name in self._names(joined):
            for base in (*self.directories, *([directory] if directory else [])):
                self._take(base / name)

    def _names(self, text: bytes) -> Iterator[str]:
        if b"include" not in text and b"import" not in text and b"embed" not in text:
            return
        for pattern in (_DIRECTIVE, _PROBE):
            for angled, quoted, other in pattern.findall(text):
                if other:
                    self.is_predictable = False
                else:
                    yield os.fsdecode(angled or quoted)

    def _take(self, path: Path) -> None:
        if path in self.seen or not self.is_predictable:
            return
        self.seen.add(path)
        content = self._content(path)
        if content is None:
            self.add_text(b"absent " + os.fsencode(path))
        else:
            self.add_text(b"present " + os.fsencode(path))
            self.follow(content, path.parent)

    def _content(self, path: Path) -> bytes | None:
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                return None
            if not stat.S_ISREG(status.st_mode) or status.st_size > _SIZE_LIMIT:
                self.is_predictable = False
                return None
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError:
            self.is_predictable = False
            return None
