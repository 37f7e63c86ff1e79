"""Pointers and references that do not say which memory they are for: Metal wants it said."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalgen.compiler.complaints import Complaints
from metalgen.compiler.scopes import Source

_TYPE = re.compile(
    r"(?:float|half|bfloat|bool|char|uchar|short|ushort|int|uint|long|ulong|size_t|ptrdiff_t|"
    r"u?int(?:8|16|32|64)_t|void)(?:[234](?:x[234])?)?"
)
_QUALIFIERS = frozenset(
    {"const", "volatile", "unsigned", "signed", "static", "inline", "constexpr"}
)
SPACES = frozenset(
    {"thread", "device", "constant", "threadgroup", "__private", "__global", "__constant"}
    | {"__local", "__generic", "__metalgen_any_space"}
)
_NAMES = {"*": "pointer", "&": "reference"}
# What a declaration can stand behind.
_FRONT = frozenset({"(", ",", ";", "{", "}"})


def check_pointers(source: Source, complaints: Complaints) -> None:
    """Complain about `float* p` and `int& i` in declarations.

    Only types that every source knows are looked at: what a template's parameter or a class stands
    for may bring an address space along.
    """
    for at in _declarators(source):
        kind = _NAMES[source.tokens[at].text]
        message = f"{kind} type must have explicit address space qualifier"
        complaints.add(source.tokens[at].start, message)


def _declarators(source: Source) -> Iterator[int]:
    """The `*` or `&` of each declaration without an address space."""
    tokens = source.tokens
    for at, token in enumerate(tokens[1:-1], start=1):
        if token.text not in _NAMES or tokens[at + 1].kind != "identifier":
            continue
        first = at - 1
        while first > 0 and tokens[first].text in _QUALIFIERS:
            first -= 1
        if not _TYPE.fullmatch(tokens[first].text):
            continue
        while first > 0 and tokens[first - 1].text in _QUALIFIERS:
            first -= 1
        front = tokens[first - 1].text if first > 0 else ";"
        if front in SPACES or (front not in _FRONT and tokens[first - 1].kind != "pragma"):
            continue
        if front != "(" or _is_parameter_list(source, first - 1):
            yield at


def _is_parameter_list(source: Source, opener: int) -> bool:
    """Whether parentheses hold parameters: of a named function, or of a lambda."""
    before = source.tokens[opener - 1]
    return before.text == "]" or (
        before.kind == "identifier" and before.text not in ("sizeof", "alignof", "decltype")
    )
