"""Classes with anonymous unions in constant memory, from which clang has no way to copy these.

An anonymous union can declare no constructor for that, so the defaulted one of the class around it,
which copies member by member, finds none. Where `members.py` added it, one that copies bytes takes
its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from metalgen.compiler.edits import Edits

_DEFAULTED = re.compile(r"(\w+)\(const __constant \1&\) = default;")


def copy_bytes(text: str, offsets: Iterable[int]) -> Edits:
    """Replace the defaulted constructors at `offsets` that copy from constant memory."""
    edits = Edits(text)
    for offset in sorted(set(offsets)):
        if found := _DEFAULTED.match(text, offset):
            name = found[1]
            body = "{ ::__metalgen::copy_bytes(this, &other); }"
            edits.replace(*found.span(), f"{name}(const __constant {name}& other) {body}")
    return edits
