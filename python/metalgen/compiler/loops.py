"""Loops over ranges whose iterators want to lie in thread memory.

clang gives the iterator that it adds to `for (T& x : range)` no address space, so that member
functions qualified `thread` cannot be called on it. Such loops are written out.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import tokenize

# Without a dangling `else`: the loop is the last branch of each condition.
_WRITTEN_OUT = (
    "if (auto&& {range} = ({of}); false) ; else if (auto {at} = {begin}; false) ; "
    "else if (auto {end} = {behind}; false) ; else for (; {at} != {end}; ++{at}) "
    "if ({declared} = *{at}; false) ; else"
)


def write_out_loops(text: str, offsets: Iterable[int]) -> Edits:
    """Write out the loops over ranges whose heads are around `offsets`."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    written: set[int] = set()
    for offset in sorted(set(offsets)):
        head = _loop_around(source, bisect.bisect_right(starts, offset) - 1)
        if head is not None and head not in written:
            written.add(head)
            _write_out(source, head, edits)
    return edits


def _loop_around(source: Source, at: int) -> int | None:
    """The `for` of the loop over a range in whose head token `at` is."""
    first = source.statement_start(at)
    for head in range(at, first - 1, -1):
        if source.tokens[head].text == "for" and head + 1 in source.pairs:
            is_inside = source.pairs[head + 1] >= at
            return head if is_inside and _colon(source, head) is not None else None
    return None


def _colon(source: Source, head: int) -> int | None:
    """What divides the head of a loop over a range; None for any other loop."""
    at, end = head + 2, source.pairs[head + 1]
    while at < end:
        if source.tokens[at].text == ":":
            return at
        if source.tokens[at].text == ";":
            return None
        at = source.pairs.get(at, at) + 1
    return None


def _write_out(source: Source, head: int, edits: Edits) -> None:
    colon = _colon(source, head)
    assert colon is not None
    end = source.pairs[head + 1]
    names = {part: f"__metalgen_{part}{head}" for part in ("range", "at", "end")}
    calls = {
        part: f"{name}({names['range']})"
        if _is_free_function(source, name)
        else f"{names['range']}.{name}()"
        for part, name in (("begin", "begin"), ("behind", "end"))
    }
    loop = _WRITTEN_OUT.format(
        of=source.one_line(colon + 1, end),
        declared=source.one_line(head + 2, colon),
        **names,
        **calls,
    )
    edits.replace(source.tokens[head].start, source.tokens[end].end, loop)


def _is_free_function(source: Source, name: str) -> bool:
    """Whether the source has a function of that name that is no member."""
    tokens = source.tokens
    return any(
        token.text == name
        and tokens[at + 1].text == "("
        and tokens[at - 1].text not in (".", "->")
        and (source.scopes[at] is None or source.scopes[at].kind == "namespace")  # type: ignore[union-attr]
        for at, token in enumerate(tokens)
    )
