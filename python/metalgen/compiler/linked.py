"""Functions that a source declares by their names in AIR, `float2 f(float2) __asm("air.f")`.

In AIR they take LLVM's vectors, so what the source calls is a function around the one that is
meant, which hands on vectors in that form.
"""

from __future__ import annotations

import re

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import split_at_commas

_ASSEMBLY = ("asm", "__asm", "__asm__")
_AIR = re.compile(r'"air\.[\w.]+"')
_VECTOR = re.compile(r"(?:u?(?:char|short|int|long)|half|bfloat|float|bool)[234]|vec")
_STORAGE = ("extern", "static", "inline")


def link_functions(source: Source, edits: Edits) -> None:
    """Let such functions that take or return vectors be called with Metal's."""
    count = 0
    for at, token in enumerate(source.tokens):
        if token.text in _ASSEMBLY and _names_air(source, at):
            count += _link(source, at, count, edits)


def _names_air(source: Source, at: int) -> bool:
    opener = at + 1
    is_label = source.pairs.get(opener) == at + 3 and source.tokens[at + 4].text == ";"
    return is_label and _AIR.fullmatch(source.tokens[at + 2].text) is not None


def _link(source: Source, label: int, number: int, edits: Edits) -> bool:
    """Rewrite the declaration that ends in the label at token `label`; false if it may stay."""
    tokens = source.tokens
    opener = source.openers.get(label - 1)
    if opener is None or tokens[opener].text != "(" or tokens[opener - 1].kind != "identifier":
        return False
    first = source.statement_start(label)
    name = opener - 1
    if not any(_VECTOR.fullmatch(token.text) for token in tokens[first:label]):
        return False
    front = [token.text for token in tokens[first:name] if token.text not in _STORAGE]
    if "__attribute__" in front or "template" in front:
        return False
    type_ = f"__metalgen_linked_type_{number}"
    native = f"__metalgen_linked_{number}"
    parameters = source.one_line(opener, label)
    declared = f"typedef {' '.join(front)} {type_}{parameters};"
    linked = f"::__metalgen::linked_function<{type_}>"
    wanted = len(split_at_commas(tokens, opener + 1, label - 1, source.pairs))
    arguments = ", ".join(f"{linked}::at<{i}> a{i}" for i in range(wanted))
    natives = ", ".join(f"{linked}::native_at<{i}>" for i in range(wanted))
    native_declared = f"{linked}::native {native}({natives}) __asm({tokens[label + 2].text});"
    given = ", ".join(f"::__metalgen::give(a{i})" for i in range(wanted))
    call = f"{native}({given})"
    body = call + ";" if front == ["void"] else f"return {linked}::taken({call});"
    edits.replace(
        tokens[first].start,
        tokens[label + 4].end,
        f"{declared} {native_declared} inline {linked}::returned "
        f"{tokens[name].text}({arguments}) {{ {body} }}",
        tokens[name].start,
    )
    return True
