"""Compound assignments that clang does not resolve.

Components of vectors are properties, and of a property whose type depends on a template parameter
clang refuses `v.x += y`; of a pointer it refuses `p += n` where `n` is an object that converts to
an integer. It accepts `v.x = v.x + (y)`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import tokenize

_COMPOUNDS = frozenset({"+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="})


def expand_compounds(text: str, offsets: Iterable[int]) -> Edits:
    """Spell out the compound assignments whose operators are at `offsets`."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        at = bisect.bisect_right(starts, offset) - 1
        if at > 0:
            _expand(source, at, edits)
    return edits


def _expand(source: Source, at: int, edits: Edits) -> None:
    tokens = source.tokens
    last = at
    while last - at < 2 and last + 1 < len(tokens) and not tokens[last].text.endswith("="):
        last += 1
    operator = source.slice(at, last + 1)
    end = _operand_end(source, last + 1)
    if operator not in _COMPOUNDS or end is None:
        return
    target = source.slice(_target_start(source, at), at)
    edits.replace(tokens[at].start, tokens[last].end, f"= {target} {operator[:-1]} (")
    edits.insert(tokens[end - 1].end, ")")


def _target_start(source: Source, operator: int) -> int:
    """The first token of the postfix expression in front of the operator."""
    tokens = source.tokens
    at = operator - 1
    while at > 0:
        if tokens[at].text in (")", "]") and at in source.openers:
            at = source.openers[at]
            if tokens[at - 1].kind == "identifier" or tokens[at - 1].text in (")", "]"):
                at -= 1
                continue
            return at
        if tokens[at - 1].text in (".", "->", "::"):
            at -= 2
            continue
        return at
    return at


def _operand_end(source: Source, at: int) -> int | None:
    """Behind the right-hand side."""
    first = at
    while at < len(source.tokens):
        if source.tokens[at].text in (";", ",", ")", "}", "]"):
            return at if at > first else None
        at = source.pairs.get(at, at) + 1
    return None
