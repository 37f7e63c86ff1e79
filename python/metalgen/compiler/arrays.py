"""Array parameters of function templates: `T values[]` is a pointer to thread memory."""

from __future__ import annotations

from metalgen.compiler.edits import Edits
from metalgen.compiler.pointers import SPACES
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import split_at_commas


def qualify_array_parameters(source: Source, edits: Edits) -> None:
    """Say `thread` where nothing is said: clang would deduce it as a part of T."""
    for scope in source.all_scopes():
        is_block = scope.parent is not None and scope.parent.kind == "function"
        if scope.kind != "function" or is_block or not scope.in_template(source.tokens):
            continue
        opener = source.template_end(scope.head)
        while opener < scope.opener and source.tokens[opener].text != "(":
            opener += 1
        for first, last in split_at_commas(
            source.tokens, opener + 1, source.pairs.get(opener, opener), source.pairs
        ):
            if _is_bare_array(source, first, last):
                edits.insert(source.tokens[first].start, "thread ")


def _is_bare_array(source: Source, first: int, last: int) -> bool:
    """Whether `tokens[first:last]` is an array parameter without an address space."""
    tokens = source.tokens
    opener = source.openers.get(last - 1, first)
    return (
        opener > first + 1
        and tokens[last - 1].text == "]"
        and tokens[opener + 1].text != "["
        and tokens[opener - 1].kind == "identifier"
        and not any(token.text in SPACES or token.text in "*&" for token in tokens[first:opener])
    )
