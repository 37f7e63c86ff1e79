"""Rewrite threadgroup variables inside functions, which clang allows in OpenCL kernels only.

    threadgroup float a[32], b;

becomes references to storage that stands for a global of its own in every instantiation of the
function around it (a local class tells instantiations apart):

    struct tag_0_a {}; __local float (&a)[32] = storage<tag_0_a, float[32]>(sizeof..., alignof...);
"""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.compiler.attributes import group_at
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.edits import Edits
from metalgen.compiler.kernels import THREADGROUP_WORDS
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import match_angle, split_at_commas

TAG = "__metalgen_tag_"
_QUALIFIERS = ("const", "volatile", "static", "constexpr")
_TYPE_WORDS = ("unsigned", "signed", "int", "short", "long", "char", "float", "half", "typename")
_STATEMENT_ENDS = (";", "{", "}", ":", ")", "else", "do")


@dataclass(frozen=True, slots=True)
class _Declaration:
    """`threadgroup T a, b[2];`: the type's text and the token ranges of the declarators."""

    first: int
    last: int  # the `;`
    type_text: str
    qualifiers: str
    alignment: str | None
    declarators: tuple[tuple[int, int], ...]


def rewrite_threadgroup_variables(source: Source, edits: Edits, complaints: Complaints) -> None:
    """Replace every declaration of threadgroup variables in a function's body."""
    last = 0
    for at, token in enumerate(source.tokens):
        scope = source.scopes[at]
        if token.text not in THREADGROUP_WORDS or at < last:
            continue
        if scope is None or scope.kind != "function":
            continue
        declaration = _read_declaration(source, at)
        if declaration is not None:
            last = declaration.last
            _rewrite(source, declaration, edits, complaints)


def _read_declaration(source: Source, word: int) -> _Declaration | None:
    """The declaration that token `word` (`threadgroup`) belongs to, if it declares variables."""
    tokens, pairs = source.tokens, source.pairs
    first = word
    while first > 0 and tokens[first - 1].text not in _STATEMENT_ENDS:
        if tokens[first - 1].kind == "pragma" or tokens[first - 1].text in ("(", ",", "<", "="):
            break
        first -= 1
    if first > 0 and tokens[first - 1].text not in _STATEMENT_ENDS:
        if tokens[first - 1].kind != "pragma":
            return None
    elif first > 0 and tokens[first - 1].text == ")" and tokens[first - 2].text == "]":
        return None
    last = _statement_end(source, first)
    if last is None:
        return None
    specifiers = _read_specifiers(source, first, last)
    if specifiers is None or word >= specifiers.end:
        return None
    declarators = split_at_commas(tokens, specifiers.end, last, pairs)
    if not declarators or any(tokens[start].kind != "identifier" for start, _ in declarators):
        return None  # pointers, references, or no declaration at all
    return _Declaration(
        first,
        last,
        specifiers.type_text,
        specifiers.qualifiers,
        specifiers.alignment,
        tuple(declarators),
    )


def _statement_end(source: Source, at: int) -> int | None:
    while at < len(source.tokens):
        text = source.tokens[at].text
        if text == ";":
            return at
        if text in (")", "}", "]"):
            return None
        at = source.pairs.get(at, at) + 1
    return None


@dataclass(frozen=True, slots=True)
class _Specifiers:
    type_text: str
    qualifiers: str
    alignment: str | None
    end: int  # the first token of the declarators


def _read_specifiers(source: Source, first: int, last: int) -> _Specifiers | None:
    """The type in front of the declarators, without its address space."""
    tokens, pairs = source.tokens, source.pairs
    type_parts: list[str] = []
    qualifiers: list[str] = []
    alignment = None
    at = first
    while at < last:
        text = tokens[at].text
        group = group_at(tokens, at, pairs)
        if group is not None:
            at = group.last
        elif text in THREADGROUP_WORDS:
            at += 1
        elif text in _QUALIFIERS:
            if text in ("const", "volatile"):
                qualifiers.append(text)
            at += 1
        elif text == "alignas" and at + 1 in pairs:
            alignment = source.slice(at + 2, pairs[at + 1])
            at = pairs[at + 1] + 1
        elif type_parts and not (text in _TYPE_WORDS and type_parts[-1] in _TYPE_WORDS):
            break
        else:
            end = _type_word_end(source, at, last)
            if end is None:
                return None
            type_parts.append(source.slice(at, end))
            at = end
    if not type_parts:
        return None
    return _Specifiers(" ".join(type_parts), " ".join(qualifiers), alignment, at)


def _type_word_end(source: Source, at: int, last: int) -> int | None:
    """Behind the type name at `at`: `uint`, `metal::array<float, 4>`, `decltype(x)`, `struct S`."""
    tokens, pairs = source.tokens, source.pairs
    if tokens[at].text in ("struct", "class", "union", "enum", "typename"):
        at += 1
        if at < last and tokens[at].text == "{":
            return None
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
        if at < last and tokens[at].text == "::":
            at += 1
            if tokens[at].text == "template":
                at += 1
            continue
        return at
    return None


def _rewrite(
    source: Source, declaration: _Declaration, edits: Edits, complaints: Complaints
) -> None:
    parts = [
        text
        for start, end in declaration.declarators
        if (text := _storage(source, declaration, start, end, complaints))
    ]
    tokens = source.tokens
    anchor = tokens[declaration.declarators[0][0]].start
    edits.replace(
        tokens[declaration.first].start, tokens[declaration.last].end, " ".join(parts), anchor
    )


def _storage(
    source: Source, declaration: _Declaration, start: int, end: int, complaints: Complaints
) -> str | None:
    """The replacement for one declarator, `tokens[start:end]`."""
    tokens = source.tokens
    name = tokens[start]
    at = start + 1
    bounds = ""
    while at < end:
        group = group_at(tokens, at, source.pairs)
        if group is not None:
            at = group.last
        elif tokens[at].text == "[" and at in source.pairs:
            bounds += source.slice(at, source.pairs[at] + 1)
            at = source.pairs[at] + 1
        else:
            complaints.add(
                name.start, f"variable '{name.text}' in threadgroup memory cannot be initialized"
            )
            return None
    tag = f"{TAG}{start}_{name.text}"
    plain = declaration.type_text
    alignment = f"alignof({plain})"
    if declaration.alignment is not None:
        alignment = f"({declaration.alignment})"
    return (
        f"struct {tag} {{}}; "
        f"typedef {declaration.qualifiers} {plain} {tag}_t{bounds}; "
        f"__local {tag}_t& {name.text} = "
        f"::__metalgen::threadgroup_storage<{tag}, {tag}_t>(sizeof({tag}_t), {alignment});"
    )
