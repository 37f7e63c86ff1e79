"""Cuts a line of textual LLVM IR into tokens."""

from __future__ import annotations

import re

from metalgen.errors import UnsupportedError

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<comment>;.*)
    | (?P<local>%(?:"[^"]*"|[-\w$.]+))
    | (?P<global>@(?:"[^"]*"|[-\w$.]+))
    | (?P<string>c?"[^"]*")
    | (?P<number>-?\d+\.\d+(?:[eE][-+]?\d+)?|0x[HKLMR]?[0-9A-Fa-f]+|-?\d+)
    | (?P<metadata>!(?:"[^"]*"|[-\w$.\\]*))
    | (?P<group>\#\d+)
    | (?P<word>[A-Za-z_$.][-\w$.]*)
    | (?P<mark>\.\.\.|[()\[\]{}<>,=*:|])
    )""",
    re.VERBOSE,
)


class Tokens:
    """The tokens of one line, read from left to right."""

    __slots__ = ("_line", "_position", "_texts")

    def __init__(self, line: str) -> None:
        self._line = line
        self._texts: list[str] = []
        self._position = 0
        at, end = 0, len(line.rstrip())
        while at < end:
            match = _TOKEN.match(line, at)
            if match is None:
                raise UnsupportedError(f"not supported: LLVM IR {line[at : at + 40].strip()!r}")
            if match.lastgroup == "comment":
                break
            self._texts.append(match[0].lstrip())
            at = match.end()

    @property
    def line(self) -> str:
        return self._line.strip()

    def peek(self, ahead: int = 0) -> str:
        """The token `ahead` places on; the empty string past the end."""
        index = self._position + ahead
        return self._texts[index] if index < len(self._texts) else ""

    def next(self) -> str:
        text = self.peek()
        self._position += 1
        return text

    def accept(self, text: str) -> bool:
        if self.peek() == text:
            self._position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise UnsupportedError(
                f"not supported: LLVM IR {self.line!r} (expected {text!r}, found {self.peek()!r})"
            )

    def accept_any(self, texts: frozenset[str]) -> tuple[str, ...]:
        """Consumes the tokens in `texts` that come next."""
        start = self._position
        while self.peek() in texts:
            self._position += 1
        return tuple(self._texts[start : self._position])

    def balanced(self) -> str:
        """Consumes a bracketed group, brackets included, and returns its text."""
        start, depth = self._position, 0
        while True:
            text = self.next()
            if text == "":
                raise UnsupportedError(f"not supported: LLVM IR {self.line!r} (open bracket)")
            depth += text in ("(", "[", "{", "<")
            depth -= text in (")", "]", "}", ">")
            if depth == 0:
                return " ".join(self._texts[start : self._position])

    def rest(self) -> str:
        """Consumes what is left and returns its text."""
        text = " ".join(self._texts[self._position :])
        self._position = len(self._texts)
        return text
