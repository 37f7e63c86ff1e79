"""Member functions that want their object in thread memory, which clang takes to be anywhere.

Without a qualifier `this` is generic for clang, and what is handed on of it. Where that goes to
thread memory the member function is given the qualifier; a constructor, which cannot have one for
temporaries, says of `this` where it is.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.members import unqualified_method
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.tokens import tokenize

_THREAD_THIS = "::__metalgen::in_thread(this)"


def place_objects_in_thread(text: str, offsets: Iterable[int]) -> Edits:
    """Say where the object is in the member functions or constructors around `offsets`."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    qualified: set[int] = set()
    for offset in sorted(set(offsets)):
        at = bisect.bisect_right(starts, offset) - 1
        method_end = unqualified_method(source, at)
        if method_end is None:
            _place_this(source, at, edits)
        elif method_end not in qualified:
            qualified.add(method_end)
            edits.insert(source.tokens[method_end - 1].end, " __private")
    return edits


def _place_this(source: Source, at: int, edits: Edits) -> None:
    """Of the member that is called at token `at`, `this->f()` or plain `f()`."""
    if at < 0 or source.tokens[at].kind != "identifier":
        return
    token, before, behind = (source.tokens[near] for near in (at, at - 1, at + 1))
    if token.text == "this":
        edits.replace(token.start, token.end, _THREAD_THIS)
    elif before.text not in (".", "->", "::") and behind.text == "(":
        edits.insert(token.start, f"{_THREAD_THIS}->")
