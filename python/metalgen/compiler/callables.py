"""Functions as template arguments: pointers to functions, which clang takes for generic pointers.

`template <void (*f)(int)>` and `template <void f(int)>` declare the same parameter; the pointee of
the first is in a generic address space for clang, where no function is.
"""

from __future__ import annotations

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import match_angle


def rewrite_function_parameters(source: Source, edits: Edits) -> None:
    """Declare template parameters that are pointers to functions, and names for such, as functions.

    Nothing but template parameters can be of such a type in Metal.
    """
    tokens = source.tokens
    for at, token in enumerate(tokens):
        if token.text in ("using", "typedef"):
            last = at
            while last < len(tokens) and tokens[last].text != ";":
                last += 1
            _rewrite(source, at, last, edits)
        elif token.text == "template" and tokens[at + 1].text == "<":
            _rewrite(source, at, match_angle(tokens, at + 1, source.pairs) or at, edits)


def _rewrite(source: Source, first: int, last: int, edits: Edits) -> None:
    tokens = source.tokens
    for opener in range(first, last):
        if _is_function_pointer(source, opener):
            closer = source.pairs[opener]
            edits.remove(tokens[opener].start, tokens[opener + 1].end)
            edits.remove(tokens[closer].start, tokens[closer].end)


def _is_function_pointer(source: Source, at: int) -> bool:
    """Whether `(*name)(`, `(*)(` or a reference of that form starts at token `at`."""
    tokens, closer = source.tokens, source.pairs.get(at)
    return (
        tokens[at].text == "("
        and closer in (at + 2, at + 3)
        and tokens[at + 1].text in ("*", "&")
        and (closer == at + 2 or tokens[at + 2].kind == "identifier")
        and tokens[closer + 1].text == "("
    )
