"""The members of structs that buffers hold: their names from the source, the rest from clang.

Every class gets a declaration whose type lists its members' types, offsets and sizes. Where a
kernel's parameter points to the class, that type is printed into the compiled module; it carries
the class's number, by which the names are found again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from metalgen.air import Argument, Field
from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Scope, Source
from metalgen.compiler.tokens import split_at_commas
from metalgen.compiler.words import metal_types

_NOT_MEMBERS = frozenset(
    {"static", "friend", "using", "typedef", "template", "public", "private", "protected"}
    | {"static_assert", "_Static_assert", "operator", "struct", "class", "union", "enum"}
)
_QUALIFIERS = frozenset({"const", "volatile", "device", "constant"})
_POINTER = re.compile(r"\b(device|constant)\b[^*&]*\*(?: ?const)?$")
_SUFFIX = re.compile(r"(\d)[uU]?[lL]+\b")
# For a class with bases, whose own declaration would be found otherwise.
_HIDING = " public: template <class S> static ::__metalgen::derived __metalgen_fields();"
FieldNames = tuple[tuple[str, ...], ...]


def declare_fields(source: Source, edits: Edits) -> FieldNames:
    """Add the declaration to every class it fits; the members' names by the classes' numbers."""
    names: list[tuple[str, ...]] = []
    for scope in source.all_scopes():
        members = _members(source, scope)
        end = source.tokens[source.pairs[scope.opener]].start
        start = source.tokens[scope.head].start
        if _hides_fields(source, scope):
            edits.insert_echo(end, _HIDING, start)
        elif members:
            listed = ", ".join(
                f"::__metalgen::field_of<decltype(S::{name}), __builtin_offsetof(S, {name})>"
                for name in members
            )
            declaration = (
                f" public: template <class S> static "
                f"::__metalgen::field_list<{len(names)}, {listed}> __metalgen_fields();"
            )
            edits.insert_echo(end, declaration, start)
            names.append(members)
    return tuple(names)


def _members(source: Source, scope: Scope) -> tuple[str, ...]:
    """The data members of a class that can be listed, in order."""
    name = source.class_name(scope)
    key = source.tokens[source.class_key(scope)].text if name else ""
    head = [token.text for token in source.tokens[source.class_key(scope) : scope.opener]]
    if key not in ("struct", "class") or ":" in head or _is_local(scope):
        return ()
    members: list[str] = []
    at = scope.opener + 1
    end = source.pairs[scope.opener]
    while at < end:
        at += source.tokens[at].text == "__extension__"
        last, is_declaration = _declaration_end(source, at, end)
        if is_declaration:
            found = _declared_names(source, at, last)
            if found is None:
                return ()
            members += found
        at = last + 1
    return tuple(members)


def _hides_fields(source: Source, scope: Scope) -> bool:
    """Whether the class is at namespace scope and has bases."""
    head = source.tokens[source.class_key(scope) : scope.opener]
    is_class = source.class_name(scope) is not None and not _is_local(scope)
    return is_class and any(token.text == ":" for token in head)


def _is_local(scope: Scope) -> bool:
    parent = scope.parent
    while parent is not None:
        if parent.kind != "namespace":
            return True  # or inside another class, which may be local
        parent = parent.parent
    return False


def _declaration_end(source: Source, at: int, end: int) -> tuple[int, bool]:
    """The token that ends the member declared at `at`, and whether it may hold data."""
    tokens, pairs = source.tokens, source.pairs
    is_data = not {token.text for token in tokens[at : at + 1]} & _NOT_MEMBERS
    while at < end:
        text = tokens[at].text
        if text in _NOT_MEMBERS and text not in ("struct", "class", "union", "enum"):
            is_data = False
        if text == ";":
            return at, is_data
        if text == ":" and tokens[at - 1].text in ("public", "private", "protected"):
            return at, False
        if text == "(" and tokens[at - 1].text not in ("alignas", "decltype", "__attribute__"):
            is_data = False
        if text == "{" and at in pairs and not is_data:
            closer = pairs[at]
            return (closer + 1 if tokens[closer + 1].text == ";" else closer), False
        at = pairs.get(at, at) + 1
    return end, False


def _declared_names(source: Source, first: int, last: int) -> list[str] | None:
    """The names that `T a, b[2] = {};` declares; None if it is not that simple."""
    names: list[str] = []
    for start, end in split_at_commas(source.tokens, first, last, source.pairs):
        stop = start
        while stop < end and source.tokens[stop].text not in ("=", "{", "[", ":", "("):
            stop += 1
        name = source.tokens[stop - 1] if stop > start else None
        words = [token.text for token in source.tokens[start:stop]]
        if name is None or name.kind != "identifier" or "&" in words:
            return None
        if stop < end and source.tokens[stop].text in (":", "("):
            return None  # a bit-field, or a pointer to a function
        names.append(name.text)
    return names or None


def are_derived(text: str) -> list[bool]:
    """Whether each parameter is of a class with bases, from the same text as `read_fields`."""
    return [argument.endswith("derived") for argument in _template(text)[1]]


def read_fields(text: str, names: FieldNames) -> list[tuple[Field, ...]]:
    """Each parameter's members, from `__metalgen::list<...>` as clang prints the type."""
    _, arguments = _template(text)
    return [_fields(argument, names) for argument in arguments]


def _fields(text: str, names: FieldNames) -> tuple[Field, ...]:
    template, arguments = _template(text)
    if not template.endswith("field_list") or not arguments:
        return ()
    number, *described = arguments
    called = ("__elems",) if int(number) < 0 else names[int(number)]  # metal::array's, as Apple's
    return tuple(
        _field(at, name, _template(member)[1], names)
        for at, (name, member) in enumerate(zip(called, described, strict=True))
    )


def _field(at: int, name: str, arguments: Sequence[str], names: FieldNames) -> Field:
    type_name, offset, size, count, inner = arguments
    resource = _resource(at, name, metal_types(type_name), max(int(count), 1))
    return Field(
        name,
        resource.type_name if resource else metal_types(type_name.removeprefix("const ")),
        int(offset),
        int(size),
        int(count),
        _fields(inner, names),
        resource,
    )


def _resource(at: int, name: str, type_text: str, count: int) -> Argument | None:
    """What a member that is a pointer to device or constant memory refers to."""
    space = _POINTER.search(type_text)
    if space is None:
        return None
    words = type_text.rpartition("*")[0].split()
    is_read = "const" in words or "constant" in words
    return Argument(
        position=at,
        name=name,
        kind="buffer",
        index=at,
        type_name=" ".join(word for word in words if word not in _QUALIFIERS),
        address_space="device" if space[1] == "device" else "constant",
        access="read" if is_read else "read_write",
        count=count,
    )


@functools.lru_cache(maxsize=1024)
def _template(text: str) -> tuple[str, tuple[str, ...]]:
    """`name<a, b<c, d>>` as its name and its arguments."""
    name, _, rest = _SUFFIX.sub(r"\1", text).partition("<")
    parts = [""]
    depth = 0
    for character in rest.rpartition(">")[0]:
        depth += (character in "<([") - (character in ">)]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return name.strip(), tuple(part.strip() for part in parts if part.strip())
