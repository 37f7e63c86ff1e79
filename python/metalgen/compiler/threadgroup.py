"""Rewrite threadgroup variables inside functions, which clang allows in OpenCL kernels only.

    threadgroup float a[32], b;

becomes references to storage that stands for a global of its own in every instantiation of the
function around it (a local class tells instantiations apart):

    struct tag_0_a {}; __local float (&a)[32] = storage<tag_0_a, float[32]>(sizeof..., alignof...);
"""

from __future__ import annotations

from metalgen.compiler.complaints import Complaints
from metalgen.compiler.declarations import Declaration, read_declaration, read_declarator
from metalgen.compiler.edits import Edits
from metalgen.compiler.kernels import THREADGROUP_WORDS
from metalgen.compiler.scopes import Source

TAG = "__metalgen_tag_"


def rewrite_threadgroup_variables(source: Source, edits: Edits, complaints: Complaints) -> None:
    """Replace every declaration of threadgroup variables in a function's body."""
    last = 0
    for at, token in enumerate(source.tokens):
        scope = source.scopes[at]
        if token.text not in THREADGROUP_WORDS or at < last:
            continue
        if scope is None or scope.kind != "function":
            continue
        declaration = read_declaration(source, at)
        if declaration is not None:
            last = declaration.last
            _rewrite(source, declaration, edits, complaints)


def _rewrite(
    source: Source, declaration: Declaration, edits: Edits, complaints: Complaints
) -> None:
    tokens = source.tokens
    parts = [
        _replacement(source, declaration, start, end, complaints)
        for start, end in declaration.declarators
    ]
    edits.replace(
        tokens[declaration.first].start,
        tokens[declaration.last].end,
        " ".join(parts),
        tokens[declaration.declarators[0][0]].start,
    )


def _replacement(
    source: Source, declaration: Declaration, start: int, end: int, complaints: Complaints
) -> str:
    """What stands for one declarator, `tokens[start:end]`."""
    name = source.tokens[start]
    qualified = f"{declaration.qualifiers} {declaration.type_text}"
    if name.kind != "identifier":
        return f"__local {qualified} {source.slice(start, end)};"  # a pointer or reference
    declarator = read_declarator(source, start, end)
    if declarator.end < end:
        message = f"variable '{name.text}' in threadgroup memory cannot be initialized"
        complaints.add(name.start, message)
    tag = f"{TAG}{start}_{name.text}"
    alignment = declarator.alignment or declaration.alignment
    asked = f"({alignment})" if alignment else f"alignof({declaration.type_text})"
    return (
        f"struct {tag} {{}}; "
        f"typedef {qualified} {tag}_t{declarator.bounds}; "
        f"__local {tag}_t& {name.text} = "
        f"::__metalgen::threadgroup_storage<{tag}, {tag}_t>(sizeof({tag}_t), {asked});"
    )
