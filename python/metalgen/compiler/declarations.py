"""Declarations of threadgroup variables: `threadgroup T a, b[2];` taken apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metalgen.compiler.attributes import group_at
from metalgen.compiler.kernels import THREADGROUP_WORDS
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import match_angle, split_at_commas

_QUALIFIERS = ("const", "volatile", "static", "constexpr")
_TYPE_WORDS = ("unsigned", "signed", "int", "short", "long", "char")
_KEYS = ("struct", "class", "union", "enum", "typename")
_ATTRIBUTES = ("alignas", "__attribute__")
_STATEMENT_ENDS = (";", "{", "}", ":", ")", "else", "do")
_NO_DECLARATION = ("(", ",", "<", "=", "return", "typedef", "using")


@dataclass(frozen=True, slots=True)
class Declaration:
    """The type's text, without the address space, and the token ranges of the declarators."""

    first: int
    last: int  # the `;`
    type_text: str
    qualifiers: str
    alignment: str | None
    declarators: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Declarator:
    """`a[2][3]`; the text of its bounds, and the token behind what was understood."""

    bounds: str
    alignment: str | None
    end: int


@dataclass(frozen=True, slots=True)
class _Specifiers:
    type_text: str
    qualifiers: str
    alignment: str | None
    end: int  # the first token of the declarators


def read_declaration(source: Source, word: int) -> Declaration | None:
    """The declaration that token `word` (`threadgroup`) belongs to, if it declares variables.

    Pointers and references to threadgroup memory are no threadgroup variables.
    """
    first = _declaration_start(source, word)
    last = _statement_end(source, first) if first is not None else None
    if first is None or last is None:
        return None
    specifiers = _pointers(source, first, word) or _read_specifiers(source, first, last)
    if specifiers is None or word >= specifiers.end:
        return None
    declarators = split_at_commas(source.tokens, specifiers.end, last, source.pairs)
    if not any(source.tokens[start].kind == "identifier" for start, _ in declarators):
        return None
    return Declaration(
        first,
        last,
        specifiers.type_text,
        specifiers.qualifiers,
        specifiers.alignment,
        tuple(declarators),
    )


def _declaration_start(source: Source, word: int) -> int | None:
    """The first token of a statement, walking back from `word` over what may precede it."""
    tokens = source.tokens
    first = word
    while first > 0:
        before = tokens[first - 1]
        opener = source.openers.get(first - 1, 0)
        if before.text == ")" and opener and tokens[opener - 1].text in _ATTRIBUTES:
            first = opener - 1
        elif before.text in _STATEMENT_ENDS or before.kind == "pragma":
            return first
        elif before.text in _NO_DECLARATION:
            return None
        elif before.text == "]" and opener and group_at(tokens, opener, source.pairs):
            first = opener
        else:
            first -= 1
    return first


def _statement_end(source: Source, at: int) -> int | None:
    while at < len(source.tokens):
        text = source.tokens[at].text
        if text == ";":
            return at
        if text in (")", "}", "]"):
            return None
        at = source.pairs.get(at, at) + 1
    return None


def _pointers(source: Source, first: int, word: int) -> _Specifiers | None:
    """The type of `device float* threadgroup a[4]`, whose address space stands behind it."""
    pointed = source.tokens[word - 1].text == "*"
    return _Specifiers(source.slice(first, word), "", None, word + 1) if pointed else None


def _read_specifiers(source: Source, first: int, last: int) -> _Specifiers | None:
    """The type in front of the declarators, without its address space."""
    found = _Specifiers("", "", None, first)
    while found.end < last:
        behind = _skip(source, found, last)
        if behind is None:
            break
        found = behind
    return found if found.type_text else None


def _skip(source: Source, found: _Specifiers, last: int) -> _Specifiers | None:
    """`found` with one more specifier; None where the declarators start."""
    at = found.end
    text = source.tokens[at].text
    if (group := group_at(source.tokens, at, source.pairs)) is not None:
        return replace(found, end=group.last)
    if text in THREADGROUP_WORDS:
        return replace(found, end=at + 1)
    if text in _QUALIFIERS:
        kept = f"{found.qualifiers} {text}" if text in ("const", "volatile") else found.qualifiers
        return replace(found, qualifiers=kept, end=at + 1)
    if text in _ATTRIBUTES and at + 1 in source.pairs:
        alignment = _alignment(source, at) or found.alignment
        return replace(found, alignment=alignment, end=source.pairs[at + 1] + 1)
    goes_on = text in _TYPE_WORDS and found.type_text.split(" ")[-1] in _TYPE_WORDS
    if found.type_text and not goes_on:
        return None
    end = _type_word_end(source, at, last)
    if end is None:
        return None
    return replace(found, type_text=f"{found.type_text} {source.slice(at, end)}".strip(), end=end)


def _alignment(source: Source, at: int) -> str | None:
    """The number in `alignas(16)` or `__attribute__((aligned(16)))`."""
    tokens, pairs = source.tokens, source.pairs
    if tokens[at].text == "alignas":
        return source.slice(at + 2, pairs[at + 1])
    for inner in range(at, pairs[at + 1]):
        if tokens[inner].text in ("aligned", "__aligned__") and inner + 1 in pairs:
            return source.slice(inner + 2, pairs[inner + 1])
    return None


def _type_word_end(source: Source, at: int, last: int) -> int | None:
    """Behind the type name at `at`: `uint`, `metal::array<float, 4>`, `decltype(x)`, `struct S`."""
    tokens, pairs = source.tokens, source.pairs
    if tokens[at].text in _KEYS:
        at += 1
    if tokens[at].text == "decltype" and at + 1 in pairs:
        return pairs[at + 1] + 1
    if tokens[at].text == "::":
        at += 1
    while at < last and tokens[at].kind == "identifier":
        at += 1
        if at < last and tokens[at].text == "<":
            close = match_angle(tokens, at, pairs)
            if close is None:
                return None
            at = close + 1
        if at >= last or tokens[at].text != "::":
            return at
        at += 2 if tokens[at + 1].text == "template" else 1
    return None


def read_declarator(source: Source, start: int, end: int) -> Declarator:
    """`tokens[start:end]`, of which the first is the name."""
    tokens, pairs = source.tokens, source.pairs
    found = Declarator("", None, start + 1)
    while found.end < end:
        at = found.end
        if (group := group_at(tokens, at, pairs)) is not None:
            found = replace(found, end=group.last)
        elif tokens[at].text == "[" and at in pairs:
            bounds = found.bounds + source.slice(at, pairs[at] + 1)
            found = replace(found, bounds=bounds, end=pairs[at] + 1)
        elif tokens[at].text in _ATTRIBUTES and at + 1 in pairs:
            alignment = _alignment(source, at)
            found = replace(found, alignment=alignment, end=pairs[at + 1] + 1)
        else:
            break
    return found
