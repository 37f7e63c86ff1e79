"""Cut preprocessed Metal source into tokens, and find what closes a bracket."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["identifier", "number", "string", "character", "pragma", "mark", "other"]


class Token(NamedTuple):
    """One token and where it starts in the text."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset behind its last character."""
        return self.start + len(self.text)


# `<` and `>` stay single, so that `>>` can close two template argument lists.
_TOKEN = re.compile(
    r"""
      (?P<identifier>[A-Za-z_$][\w$]*)
    | (?P<number>\.?\d(?:[eEpP][+-]|['\w.])*)
    | (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<character>'(?:[^'\\\n]|\\.)*')
    | (?P<pragma>^[ \t]*\#[^\n]*)
    | (?P<mark>::|->\*?|\.\.\.|[-+*/%&|^!=]=|&&|\|\||\+\+|--|[][(){}<>;,:?.~!%^&*+=|/-])
    | (?P<other>\S)
    """,
    re.VERBOSE | re.MULTILINE,
)

_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def tokenize(text: str) -> list[Token]:
    """The tokens of `text`, which holds no comments."""
    return [
        Token(found.lastgroup, found.group(), found.start())  # type: ignore[arg-type]
        for found in _TOKEN.finditer(text)
    ]


def match_brackets(tokens: Sequence[Token]) -> dict[int, int]:
    """The index of each closing bracket by its opening one's, for () [] and {}."""
    pairs: dict[int, int] = {}
    waiting: list[int] = []
    for at, token in enumerate(tokens):
        if token.text in _CLOSERS:
            waiting.append(at)
        elif token.text in (")", "]", "}"):
            # A stray closer is clang's to report: forget openers that it cannot belong to.
            while waiting and _CLOSERS[tokens[waiting[-1]].text] != token.text:
                waiting.pop()
            if waiting:
                pairs[waiting.pop()] = at
    return pairs


def match_angle(tokens: Sequence[Token], opener: int, pairs: dict[int, int]) -> int | None:
    """The index of the `>` that closes the template argument list opened at `opener`."""
    depth = 0
    at = opener
    while at < len(tokens):
        text = tokens[at].text
        if text in _CLOSERS:
            if at not in pairs:
                return None
            at = pairs[at]
        elif text == "<":
            depth += 1
        elif text == ">":
            depth -= 1
            if depth == 0:
                return at
        elif text in (";", "{", "}"):
            return None
        at += 1
    return None


def split_at_commas(
    tokens: Sequence[Token], start: int, end: int, pairs: dict[int, int]
) -> list[tuple[int, int]]:
    """The index ranges between the commas of `tokens[start:end]` that no bracket encloses."""
    parts: list[tuple[int, int]] = []
    first = at = start
    while at < end:
        text = tokens[at].text
        if text in _CLOSERS and at in pairs:
            at = pairs[at]
        elif text == "<" and (close := match_angle(tokens, at, pairs)) is not None and close < end:
            at = close
        elif text == ",":
            parts.append((first, at))
            first = at + 1
        at += 1
    if first < end or parts:
        parts.append((first, end))
    return parts
