"""Casts between half and bfloat, which Metal allows and clang does by way of float only."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import match_angle, tokenize

_WIDENED = "::__metalgen::widened("
_PREFIXES = frozenset({"+", "-", "!", "~", "*", "&", "++", "--"})


def widen_casts(text: str, offsets: Iterable[int]) -> Edits:
    """Widen what the casts at `offsets` cast to float first, if it is half or bfloat."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        at = bisect.bisect_right(starts, offset) - 1
        operand = _operand(source, at) if at >= 0 else None
        if operand is not None and operand[0] < operand[1] <= len(source.tokens):
            first, last = operand
            edits.insert(source.tokens[first].start, _WIDENED)
            edits.insert(source.tokens[last - 1].end, ")")
    return edits


def _operand(source: Source, at: int) -> tuple[int, int] | None:
    """The tokens of what the cast at token `at` casts: first, and behind the last."""
    tokens, pairs = source.tokens, source.pairs
    if tokens[at].text == "(" and at in pairs:  # (T)x
        return pairs[at] + 1, _unary_end(source, pairs[at] + 1)
    while at < len(tokens) and (tokens[at].kind == "identifier" or tokens[at].text in ("::", "<")):
        if tokens[at].text == "<":  # static_cast<T>(x), vec<T, 2>(x)
            at = match_angle(tokens, at, pairs) or len(tokens)
        at += 1
    if at in pairs and tokens[at].text in ("(", "{") and pairs[at] > at + 1:
        return at + 1, pairs[at]
    return None


def _unary_end(source: Source, at: int) -> int:
    """Behind the unary expression that starts at token `at`."""
    tokens, pairs = source.tokens, source.pairs
    while at < len(tokens) and tokens[at].text in _PREFIXES:
        at += 1
    at = pairs.get(at, at) + 1
    while at < len(tokens):
        text = tokens[at].text
        if text in ("[", "(") and at in pairs:
            at = pairs[at] + 1
        elif text in (".", "->", "::"):
            at += 2
        elif text == "<" and (close := match_angle(tokens, at, pairs)) is not None:
            if tokens[close + 1].text not in ("(", "::"):
                return at  # a comparison
            at = close + 1
        else:
            return at
    return at
