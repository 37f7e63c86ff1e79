"""Cuts a line of textual LLVM IR into tokens."""

from __future__ import annotations

import re

from metalgen.errors import UnsupportedError

_TOKEN = re.compile(
    r"""
      [%@](?:"[^"]*"|[-\w$.]+)                                          # a value
    | c?"[^"]*"
    | -?\d+\.\d+(?:[eE][-+]?\d+)?|0x[HKLMR]?[0-9A-Fa-f]+|-?\d+        # a number
    | !(?:"[^"]*"|[-\w$.\\]*)                                          # metadata
    | \#\d+                                                            # an attribute group
    | [A-Za-z_$.][-\w$.]*
    | \.\.\.
    | ;.*                                                              # a comment
    | \S                                                               # a mark, or what no AIR has
    """,
    re.VERBOSE,
)
_END = ("", "", "")  # what a parser finds behind the last token, however far it looks ahead


class Tokens:
    """The tokens of one line, read from left to right."""

    __slots__ = ("_count", "_line", "_position", "_texts")

    def __init__(self, line: str) -> None:
        self._line = line
        self._texts: list[str] = _TOKEN.findall(line)
        if ";" in line and self._texts[-1].startswith(";"):
            self._texts.pop()
        self._count = len(self._texts)
        self._texts.extend(_END)
        self._position = 0

    @property
    def line(self) -> str:
        return self._line.strip()

    def peek(self, ahead: int = 0) -> str:
        """The token `ahead` places on; the empty string past the end."""
        return self._texts[self._position + ahead]

    def next(self) -> str:
        text = self._texts[self._position]
        if text:
            self._position += 1
        return text

    def accept(self, text: str) -> bool:
        if self._texts[self._position] == text:
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
        while self._texts[self._position] in texts:
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
        text = " ".join(self._texts[self._position : self._count])
        self._position = self._count
        return text
