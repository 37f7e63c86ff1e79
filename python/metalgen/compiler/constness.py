"""Pointers and references into constant memory: what they lead to is const, said or not."""

from __future__ import annotations

from metalgen.compiler.constants import CONSTANT_WORDS
from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import match_angle, tokenize


def add_const(text: str) -> Edits:
    """`constant T*` becomes `const constant T*`, for clang wants that of a constexpr's address."""
    source = read_source(text, tokenize(text))
    edits = Edits(text)
    for at, token in enumerate(source.tokens):
        if token.text in CONSTANT_WORDS and _refers(source, at):
            edits.insert(token.start, "const ")
    return edits


def _refers(source: Source, word: int) -> bool:
    """Whether `constant` at token `word` qualifies what a pointer or reference leads to."""
    tokens = source.tokens
    at = word + 1
    if tokens[word - 1].text == "const":
        return False
    while at < len(tokens):
        text = tokens[at].text
        if text == "const":
            return False
        if text == "<":
            close = match_angle(tokens, at, source.pairs)
            if close is None:
                return False
            at = close
        elif text in ("*", "&", "&&", "("):
            # `constant T (&x)[n]`, but not the end of a member function, `) constant {`.
            return at > word + 1 and (text != "(" or tokens[at + 1].text in ("*", "&"))
        elif tokens[at].kind != "identifier" and text != "::":
            return False
        at += 1
    return False
