"""Words that mean something to clang's OpenCL mode and nothing to Metal.

They become ordinary names, under which messages show them as they were. Those that Metal's own
address spaces turn into further on are renamed first of all, while the text is as it was written.
"""

from __future__ import annotations

import re

from metalgen.compiler.edits import Edits
from metalgen.compiler.preprocess import Preprocessed
from metalgen.compiler.tokens import tokenize

RENAMED_SUFFIX = "__metalgen_name"

# What the rewriting itself writes, or what stands for a word of Metal's.
_EARLY = re.compile(r"\b__(?:global|local|constant|private|generic|kernel)\b")
_COHERENT = re.compile(r"\bcoherent\s*\(\s*(?:device|threadgroup)\s*\)")
_LATE = re.compile(
    r"__(?:pipe|read_only|write_only|read_write)"
    r"|global|local|generic|pipe|read_only|write_only|read_write|vec_step"
    r"|(?:event|clk_event|queue|reserve_id|sampler|image[123]d\w*)_t"
    r"|addrspace_cast|to_global|to_local|to_private"
)


def is_foreign(word: str) -> bool:
    """Whether clang would take a name of the user's for one of OpenCL's."""
    return _LATE.fullmatch(word) is not None


def drop_coherence(preprocessed: Preprocessed) -> Preprocessed:
    """The source without `coherent(device)`: memory here is coherent in any case."""
    edits = Edits(preprocessed.text)
    for found in _COHERENT.finditer(preprocessed.text):
        edits.remove(found.start(), found.end())
    return preprocessed.changed_by(edits) if edits.changes else preprocessed


def rename_address_spaces(preprocessed: Preprocessed) -> Preprocessed:
    """The source with `__global` and its like as names that nobody has declared."""
    edits = Edits(preprocessed.text)
    if _EARLY.search(preprocessed.text):
        for token in tokenize(preprocessed.text):
            if token.kind == "identifier" and _EARLY.fullmatch(token.text):
                edits.replace(token.start, token.end, token.text + RENAMED_SUFFIX)
    return preprocessed.changed_by(edits) if edits.changes else preprocessed
