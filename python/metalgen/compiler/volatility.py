"""`volatile device float4*`: vectors and classes have no members for volatile objects.

Metal's memory model gives `volatile` no meaning between threads: it stays on numbers and atomics,
which loops may wait for, and goes from everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from metalgen.compiler.edits import Edits
from metalgen.compiler.tokens import Token, tokenize

_QUALIFIERS = frozenset(
    "const volatile device threadgroup thread constant struct class unsigned signed __global "
    "__local __private __constant __generic metal ::".split()
)
_NUMBERS = frozenset(
    "bool char uchar short ushort int uint long ulong half bfloat float size_t int8_t uint8_t "
    "int16_t uint16_t int32_t uint32_t int64_t uint64_t".split()
)


def drop_volatile(text: str) -> Edits:
    """Take `volatile` from every declaration of what is neither a number nor atomic."""
    tokens = tokenize(text)
    edits = Edits(text)
    for at, token in enumerate(tokens):
        if token.text == "volatile" and not _is_simple(_qualified(tokens, at)):
            edits.replace(token.start, token.end, "")
    return edits


def _qualified(tokens: Sequence[Token], at: int) -> str:
    """The type's name that the qualifier at `at` belongs to, in front of it or behind."""
    behind = at + 1
    while behind < len(tokens) and tokens[behind].text in _QUALIFIERS:
        behind += 1
    if behind < len(tokens) and tokens[behind].kind == "identifier":
        return tokens[behind].text
    before = at - 1
    while before >= 0 and tokens[before].text in _QUALIFIERS:
        before -= 1
    return tokens[before].text if before >= 0 else ""


def _is_simple(name: str) -> bool:
    return name in _NUMBERS or name.startswith("atomic")
