"""Assignments through a swizzle of a swizzle, `v.xyz.y = 1`: the same as through one, `v.y = 1`.

Swizzles are properties that give values, so clang finds nothing to assign to.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.tokens import Token, tokenize

_COMPONENTS = ("xyzw", "rgba")


def compose_swizzles(text: str, offsets: Iterable[int]) -> Edits:
    """Compose the swizzle whose name is at each of `offsets` with those in front of it."""
    tokens = tokenize(text)
    starts = [token.start for token in tokens]
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        last = bisect.bisect_right(starts, offset) - 1
        first, composed = _chain(tokens, last)
        if first < last:
            edits.replace(tokens[first].start, tokens[last].end, composed)
    return edits


def _chain(tokens: list[Token], last: int) -> tuple[int, str]:
    """The first name of the chain of swizzles that ends at token `last`, and what all pick."""
    picked = _indices(tokens[last])
    first = last
    while first >= 3 and picked and tokens[first - 1].text == tokens[first - 3].text == ".":
        before = _indices(tokens[first - 2])
        if not before or max(picked) >= len(before):
            break
        picked = [before[index] for index in picked]
        first -= 2
    return first, "".join("xyzw"[index] for index in picked)


def _indices(token: Token) -> list[int]:
    """The components that a swizzle names, none if the name is not one."""
    for names in _COMPONENTS:
        if len(token.text) <= len(names) and set(token.text) <= set(names):
            return [names.index(name) for name in token.text]
    return []
