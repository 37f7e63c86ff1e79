"""Members that want an object in thread memory, called for one that clang takes to be anywhere.

In Metal `this` is in thread memory where a member function has no qualifier; for clang it is
generic there, and in constructors.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import read_source
from metalgen.compiler.tokens import tokenize

_THREAD_THIS = "::__metalgen::in_thread(this)"


def place_this_in_thread(text: str, offsets: Iterable[int]) -> Edits:
    """Say where `this` is in the calls of members at `offsets`, `this->f()` or plain `f()`."""
    source = read_source(text, tokenize(text))
    starts = [token.start for token in source.tokens]
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        at = bisect.bisect_right(starts, offset) - 1
        if at < 0 or source.tokens[at].kind != "identifier":
            continue
        token, before, behind = (source.tokens[near] for near in (at, at - 1, at + 1))
        if token.text == "this":
            edits.replace(token.start, token.end, _THREAD_THIS)
        elif before.text not in (".", "->", "::") and behind.text == "(":
            edits.insert(token.start, f"{_THREAD_THIS}->")
    return edits
