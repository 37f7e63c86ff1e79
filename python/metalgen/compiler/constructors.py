"""Constructors overloaded by address space, which clang never uses for temporaries.

One without a qualifier builds objects in thread, device and threadgroup memory alike, so the
first of each such family loses its qualifier, and the others go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Scope, Source
from metalgen.compiler.tokens import split_at_commas

_GENERIC_SPACES = frozenset(
    {"thread", "device", "threadgroup", "__private", "__global", "__local", "__generic"}
)


@dataclass(frozen=True, slots=True)
class _Constructor:
    """`N(...) thread : a(b) {}`: its tokens, its address space's token, what overloads it."""

    first: int
    last: int  # behind the body or the `;`
    space: int | None
    signature: str


def rewrite_constructors(source: Source, edits: Edits) -> None:
    """Leave one generic constructor of each family."""
    for scope in source.all_scopes():
        name = source.class_name(scope)
        if name is None:
            continue
        seen: set[str] = set()
        for constructor in _constructors(source, scope, name):
            if constructor.space is None:
                seen.add(constructor.signature)
        for constructor in _constructors(source, scope, name):
            if constructor.space is None:
                continue
            start = source.tokens[constructor.first].start
            if constructor.signature in seen:
                edits.remove(start, source.tokens[constructor.last - 1].end)
            else:
                space = source.tokens[constructor.space]
                edits.remove(space.start, space.end)
            seen.add(constructor.signature)


def _constructors(source: Source, scope: Scope, name: str) -> Iterator[_Constructor]:
    tokens = source.tokens
    at = scope.opener + 1
    while at < source.pairs[scope.opener]:
        if (
            source.scopes[at] is scope
            and tokens[at].text == name
            and tokens[at + 1].text == "("
            and at + 1 in source.pairs
            and tokens[at - 1].text not in ("~", "::", ":", ",", ".", "->", "return", "=")
        ):
            found = _read(source, at)
            if found is not None:
                yield found
                at = found.last
                continue
        at += 1


def _read(source: Source, name_at: int) -> _Constructor | None:
    tokens, pairs = source.tokens, source.pairs
    close = pairs[name_at + 1]
    at = close + 1
    space = None
    while tokens[at].text in (*_GENERIC_SPACES, "noexcept"):
        if tokens[at].text in _GENERIC_SPACES:
            space = at
        at += 1
    if tokens[at].text == ":":
        at = _initializers_end(source, at + 1)
    elif tokens[at].text in ("constant", "__constant"):
        return None  # for objects that no generic constructor can build
    if at < len(tokens) and tokens[at].text == "{" and at in pairs:
        last = pairs[at] + 1
    else:
        while at < len(tokens) and tokens[at].text not in (";", "}"):
            at += 1
        last = at + 1
    if last > len(tokens):
        return None
    first = source.statement_start(name_at)
    if first < name_at and tokens[first].text == ";":
        first += 1
    return _Constructor(first, last, space, _signature(source, first, name_at + 1))


def _signature(source: Source, first: int, opener: int) -> str:
    """What tells a constructor from others: template parameters and the types of its own."""
    tokens, pairs = source.tokens, source.pairs
    types = [source.slice(first, source.template_end(first))]
    for start, end in split_at_commas(tokens, opener + 1, pairs[opener], pairs):
        last = next((at for at in range(start, end) if tokens[at].text == "="), end)
        if last > start + 1 and tokens[last - 1].kind == "identifier":
            last -= 1  # the name
        types.append(" ".join(token.text for token in tokens[start:last]))
    return ",".join(types)


def _initializers_end(source: Source, at: int) -> int:
    """The `{` of the body behind `a(b), c{d}`."""
    tokens, pairs = source.tokens, source.pairs
    while at < len(tokens):
        while at < len(tokens) and tokens[at].text not in ("(", "{"):
            at += 1
        at = pairs.get(at, at) + 1
        if at >= len(tokens) or tokens[at].text != ",":
            return at
        at += 1
    return at
