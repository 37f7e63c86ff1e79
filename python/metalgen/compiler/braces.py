"""`T({a, b})` in constant memory: the same as `T{a, b}`, and clang knows no copy of T to take."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import match_angle, tokenize


def drop_parentheses(text: str, offsets: Iterable[int]) -> Edits:
    """Drop the parentheses around the lists that objects at `offsets` are made of."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        opening = _behind_type(source, bisect.bisect_right(starts, offset) - 1)
        closing = source.pairs.get(opening)
        if closing is None or source.tokens[opening].text != "(":
            continue
        if source.tokens[opening + 1].text != "{" or source.pairs[opening + 1] != closing - 1:
            continue
        for parenthesis in (opening, closing):
            token = source.tokens[parenthesis]
            edits.replace(token.start, token.end, " ")
    return edits


def _behind_type(source: Source, at: int) -> int:
    """Behind the name of the type that starts at token `at`, with its template's arguments."""
    while at < len(source.tokens):
        token = source.tokens[at]
        close = match_angle(source.tokens, at, source.pairs) if token.text == "<" else None
        if close is None and token.kind != "identifier" and token.text != "::":
            break
        at = at + 1 if close is None else close + 1
    return at
