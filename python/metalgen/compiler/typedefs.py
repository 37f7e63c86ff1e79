"""Classes that only a typedef names, as C has them, get that name for their own.

`typedef struct { ... } T;` is `typedef struct T { ... } T;` to every use of T. What the rewriting
adds to classes (their members' names, constructors, members per address space) goes by the name.

`typedef thread struct T { ... } T;` has T be a class in thread memory to some, and the class itself
to others. Variables lie there anyway, so it loses the qualifier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from metalgen.compiler.edits import Edits
from metalgen.compiler.preprocess import Preprocessed
from metalgen.compiler.tokens import Token, match_brackets, tokenize

_UNNAMED = re.compile(r"\btypedef\s+(?:struct|class|union)\s*\{")
_IN_THREAD = re.compile(r"\btypedef\s+(thread)\s+(?:struct|class|union)\b[^;{}*&]*\{")


def place_classes_nowhere(preprocessed: Preprocessed) -> Preprocessed:
    """The source without `thread` in typedefs that define a class."""
    edits = Edits(preprocessed.text)
    for found in _IN_THREAD.finditer(preprocessed.text):
        edits.remove(*found.span(1))
    return preprocessed.changed_by(edits) if edits.changes else preprocessed


def name_classes(preprocessed: Preprocessed) -> Preprocessed:
    """The source with those classes named."""
    edits = Edits(preprocessed.text)
    if _UNNAMED.search(preprocessed.text):
        tokens = tokenize(preprocessed.text)
        pairs = match_brackets(tokens)
        for at, token in enumerate(tokens[:-2]):
            if token.text == "typedef" and tokens[at + 2].text == "{" and at + 2 in pairs:
                name = _only_name(tokens, pairs[at + 2] + 1)
                if name is not None:
                    edits.insert(tokens[at + 1].end, f" {name}")
    return preprocessed.changed_by(edits) if edits.changes else preprocessed


def _only_name(tokens: Sequence[Token], at: int) -> str | None:
    """The name that the typedef gives, where it gives one and nothing else."""
    if at + 1 < len(tokens) and tokens[at].kind == "identifier" and tokens[at + 1].text == ";":
        return tokens[at].text
    return None
