"""From clang's words to Metal's: address spaces, type names, and names the rewriting made up."""

from __future__ import annotations

import re

_SPACES = {
    "__global": "device",
    "__local": "threadgroup",
    "__constant": "constant",
    "__private": "thread",
}
_SPACE = re.compile(r"\b(__global|__local|__constant|__private)\b")
_GENERIC = re.compile(r"\b__generic\s*")
_SCALARS = (
    (re.compile(r"\bunsigned (char|short|int)\b"), r"u\1"),
    (re.compile(r"\bunsigned long(?: long)?\b"), "ulong"),
    (re.compile(r"\bunsigned\b(?! )"), "uint"),
    (re.compile(r"\bsigned char\b"), "char"),
    (re.compile(r"\b__bf16\b"), "bfloat"),
    (re.compile(r"\b_Bool\b"), "bool"),
    (re.compile(r"\b_Float16\b"), "half"),
)
_VECTORS = (
    (re.compile(r"\b(?:metal::)?vec<(\w+), (\d)>"), r"\1\2"),
    (re.compile(r"\b(?:metal::)?packed_vec<(\w+), (\d)>"), r"packed_\1\2"),
    (re.compile(r"\b(?:metal::)?matrix<(\w+), (\d), (\d)>"), r"\1\2x\3"),
    (re.compile(r"\b(?:metal::)?_?atomic<(\w+)>"), r"atomic_\1"),
)
_MADE_UP = re.compile(r"__metalgen_name\b")


def metal_types(text: str) -> str:
    """`text` with types and address spaces named as Metal names them."""
    text = _SPACE.sub(lambda found: _SPACES[found[1]], text)
    text = _GENERIC.sub("", text)
    for pattern, name in (*_SCALARS, *_VECTORS):
        text = pattern.sub(name, text)
    return _MADE_UP.sub("", text)


_LANGUAGE = (
    (re.compile(r"C\+\+ for OpenCL(?: version \S+)?|OpenCL C(?: version \S+)?|OpenCL"), "Metal"),
    (
        re.compile(r"\b(global|local|constant|private) address space"),
        lambda found: (
            {
                "global": "device",
                "local": "threadgroup",
                "private": "thread",
            }.get(found[1], found[1])
            + " address space"
        ),
    ),
)


def metal_message(text: str) -> str:
    """One of clang's messages in Metal's words."""
    text = metal_types(text)
    for pattern, replacement in _LANGUAGE:
        text = pattern.sub(replacement, text)
    return text
