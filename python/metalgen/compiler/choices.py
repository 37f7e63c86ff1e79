"""`c ? x[i] : float4(0)`: what is in memory is loaded first, for clang wants one type of both."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import match_angle, tokenize

_LOADED = "::__metalgen::loaded("
_ENDS = frozenset({";", ",", ")", "}", "]", ":"})


def load_choices(text: str, offsets: Iterable[int]) -> Edits:
    """Load both operands of the conditional operators whose `?` are at `offsets`."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        at = bisect.bisect_right(starts, offset) - 1
        if at < 0 or source.tokens[at].text != "?":
            continue
        colon = _operand_end(source, at + 1)
        end = _operand_end(source, colon + 1)
        for first, last in ((at + 1, colon), (colon + 1, end)):
            if first < last <= len(source.tokens):
                edits.insert(source.tokens[first].start, _LOADED)
                edits.insert(source.tokens[last - 1].end, ")")
    return edits


def _operand_end(source: Source, at: int) -> int:
    """Behind the operand that starts at token `at`: the `:` or what ends the expression."""
    tokens, pairs = source.tokens, source.pairs
    inner = 0  # conditional operators inside
    while at < len(tokens):
        text = tokens[at].text
        if text == ":" and inner:
            inner -= 1
        elif text in _ENDS:
            return at
        inner += text == "?"
        if text == "<" and tokens[at - 1].kind == "identifier":
            close = match_angle(tokens, at, pairs)
            if close is not None and tokens[close + 1].text in ("(", "{", "::"):
                at = close
        at = pairs.get(at, at) + 1
    return at
