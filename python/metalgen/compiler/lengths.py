"""Templates over the length of a vector: `template <typename T, uint N> void f(vec<T, N>)`.

Metal deduces lengths whatever their type; clang wants the one that class template `vec` has, `int`.
"""

from __future__ import annotations

from collections.abc import Iterator

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import match_angle, split_at_commas

_WITH_LENGTHS = frozenset({"vec", "packed_vec", "matrix"})
_INTEGERS = frozenset(
    "uchar short ushort uint long ulong unsigned size_t int8_t uint8_t int16_t uint16_t int32_t "
    "uint32_t int64_t uint64_t".split()
)


def rewrite_lengths(source: Source, edits: Edits) -> None:
    """Make parameters of templates that are deduced as lengths, and only as such, `int`."""
    for at, token in enumerate(source.tokens[:-1]):
        if token.text != "template" or source.tokens[at + 1].text != "<":
            continue
        close = match_angle(source.tokens, at + 1, source.pairs)
        if close is None:
            continue
        declared = dict(_integers(source, at + 2, close))
        if not declared:
            continue
        lengths, others = _uses(source, close + 1)
        for name in (lengths - others) & declared.keys():
            first, last = declared[name]
            edits.replace(source.tokens[first].start, source.tokens[last].end, "int")


def _integers(source: Source, start: int, end: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each parameter of an integer's type: its name, the first and last token of its type."""
    for first, behind in split_at_commas(source.tokens, start, end, source.pairs):
        words = [token.text for token in source.tokens[first:behind]]
        if "=" in words:
            words = words[: words.index("=")]
        if len(words) >= 2 and all(word in _INTEGERS or word == "int" for word in words[:-1]):
            yield words[-1], (first, first + len(words) - 2)


def _uses(source: Source, at: int) -> tuple[set[str], set[str]]:
    """Names that are lengths in what a template declares, and those given to other templates."""
    tokens = source.tokens
    lengths: set[str] = set()
    others: set[str] = set()
    while at + 1 < len(tokens) and tokens[at].text not in ("{", ";"):
        if tokens[at].kind == "identifier" and tokens[at + 1].text == "<":
            close = match_angle(tokens, at + 1, source.pairs)
            parts = split_at_commas(tokens, at + 2, close, source.pairs) if close else []
            named = {tokens[a].text for a, b in parts if b == a + 1}
            (lengths if tokens[at].text in _WITH_LENGTHS else others).update(named)
        at += 1
    return lengths, others
