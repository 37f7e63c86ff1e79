"""Built-in variables and bindings at program scope (specification, 5.9): found, declared to clang.

`uint2 gid [[thread_position_in_grid]];` and `device T* constant y [[buffer(1)]];` become external
constants. `handed_down` makes them parameters of the kernels that use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from metalgen.compiler.attributes import (
    GRAPHICS_INPUTS,
    INDICES,
    POSITIONS,
    UNSUPPORTED_PARAMETERS,
    Attribute,
    AttributeGroup,
    group_at,
    groups,
)
from metalgen.compiler.bindings import Parameter, read_binding
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.constants import CONSTANT_WORDS
from metalgen.compiler.edits import Edits
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import Token, split_at_commas
from metalgen.compiler.wrappers import description

GLOBAL_SYMBOL = "__metalgen_global_"
_MEMORY = ("buffer", "threadgroup")
_BUILTINS = POSITIONS | INDICES
_ATTRIBUTES = frozenset({*_MEMORY, *_BUILTINS, *UNSUPPORTED_PARAMETERS, *GRAPHICS_INPUTS})
_STORAGE = ("extern", "static", "constexpr", "inline")
_BUILTINS_FROM, _BINDINGS_FROM = (3, 1), (3, 2)


@dataclass(frozen=True, slots=True)
class Global:
    """One variable at program scope; its symbol in the compiled module carries `number`."""

    number: int
    path: str  # `::outer::name`
    parameter: Parameter
    is_extern: bool

    @property
    def key(self) -> str:
        """What the names of its description end in."""
        return f"global_{self.number}"


@dataclass(frozen=True, slots=True)
class _Declarator:
    """`tokens[first:last]` of a declaration; `words` are its type's, what all share included."""

    first: int
    last: int
    name: Token
    words: tuple[str, ...]
    attributes: tuple[Attribute, ...]


def rewrite_globals(
    source: Source, options: CompileOptions, edits: Edits, complaints: Complaints
) -> tuple[Global, ...]:
    """Make them external constants that describe themselves; complain about what cannot be one."""
    found: dict[str, Global] = {}
    for first, last in _statements(source):
        parts = [
            _rewrite(source, declarator, found, complaints)
            for declarator in _declarators(source, first, last)
            if _is_right(source, declarator, options, complaints)
        ]
        start, end = source.tokens[first].start, source.tokens[last - 1].end
        edits.replace(start, end, "; ".join(parts), _anchor(source, first))
    return tuple(found.values())


def _statements(source: Source) -> Iterator[tuple[int, int]]:
    """The tokens, up to the `;`, of declarations at namespace scope with such an attribute."""
    behind = 0
    for at, token in enumerate(source.tokens):
        if token.text != "[" or at < behind:
            continue
        scope, group = source.scopes[at], group_at(source.tokens, at, source.pairs)
        if group is None or not _names_one(group) or (scope and scope.kind != "namespace"):
            continue
        first = source.statement_start(at)
        last = first
        while last < len(source.tokens) and source.tokens[last].text not in (";", "{", ")"):
            last = source.pairs.get(last, last) + 1
        in_front = (source.tokens[before].text for before in range(first, at))
        if at < last and not {"(", "{"} & set(in_front):
            behind = last
            yield first, last


def _names_one(group: AttributeGroup) -> bool:
    return any(attribute.name in _ATTRIBUTES for attribute in group.attributes)


def _anchor(source: Source, first: int) -> int:
    """Where clang's complaints about a declaration are shown: at the name."""
    at = first
    while source.tokens[at].text != "[":
        at += 1
    return source.tokens[at - 1].start


def _declarators(source: Source, first: int, last: int) -> Iterator[_Declarator]:
    shared: tuple[str, ...] = ()
    for start, end in split_at_commas(source.tokens, first, last, source.pairs):
        found = list(groups(source.tokens, start, end, source.pairs))
        name = found[0].first - 1 if found else end - 1
        words = (*shared, *(token.text for token in source.tokens[start:name]))
        attributes = tuple(attribute for group in found for attribute in group.attributes)
        yield _Declarator(start, end, source.tokens[name], words, attributes)
        shared = shared or words[: words.index("*") if "*" in words else len(words)]


def _rewrite(
    source: Source, declarator: _Declarator, found: dict[str, Global], complaints: Complaints
) -> str:
    """The declaration for clang, with the description of a variable that is new."""
    name, words = declarator.name, declarator.words
    scope = source.scopes[declarator.first]
    path = "::".join(("", *(scope.namespaces() if scope else ()), name.text))
    binding = read_binding(source, declarator.attributes, complaints)
    parameter = Parameter(name.text, name.start, binding, is_threadgroup=False)
    known = found.get(path)
    new = Global(known.number if known else len(found), path, parameter, "extern" in words)
    found[path] = known if known and not known.is_extern else new
    declared = " ".join(word for word in words if word not in _STORAGE)
    space = "" if "*" in words else "const __constant "
    text = f'extern {space}{declared} {name.text} __asm("{GLOBAL_SYMBOL}{new.number}")'
    if known is None:
        return text + _described(new)
    _check_again(known, new, complaints)
    return text


def _described(new: Global) -> str:
    function = f"{GLOBAL_SYMBOL}type_{new.number}"
    return (
        f"; typedef void {function}"
        f"(typename ::__metalgen::bare<decltype({new.path.removeprefix('::')})>::type);"
        f"{description(new.key, function, [new.parameter])}"
    ).removesuffix(";")


def _check_again(known: Global, new: Global, complaints: Complaints) -> None:
    """Complain about a second declaration that is no mere declaration, or another one."""
    name, start = new.parameter.name, new.parameter.start
    if not (known.is_extern or new.is_extern):
        complaints.add(start, f"redefinition of '{name}'")
    if replace(known.parameter, start=start) != new.parameter:
        complaints.add(start, f"'{name}' is declared with different attributes")


def _is_right(
    source: Source, declarator: _Declarator, options: CompileOptions, complaints: Complaints
) -> bool:
    """Whether it can be described to clang; complain if not."""
    name = declarator.name
    problem = _problem(declarator, options)
    if problem is None and any(
        token.text == "=" for token in source.tokens[declarator.first : declarator.last]
    ):
        problem = f"'{name.text}' cannot be initialized: a launch gives it its value"
    if problem is not None:
        complaints.add(name.start, problem)
    return problem is None


def _problem(declarator: _Declarator, options: CompileOptions) -> str | None:
    """Why a variable with such attributes and type is refused, if it is."""
    name, words = declarator.name.text, list(declarator.words)
    names = {attribute.name for attribute in declarator.attributes}
    for attribute in sorted(names & UNSUPPORTED_PARAMETERS.keys()):
        what = UNSUPPORTED_PARAMETERS[attribute]
        return f"not supported: {what} at program scope ('{name}')"
    for attribute in sorted(names & GRAPHICS_INPUTS):
        return f"'{attribute}' cannot be at program scope: only inputs of kernels can"
    if "array" in words or declarator.name.text == "]":
        return "not supported: arrays of bindings at program scope"
    if declarator.name.kind != "identifier" or not names & _ATTRIBUTES:
        return f"expected 'T name [[attribute]]' at program scope, found '{' '.join(words)}'"
    is_memory = bool(names & set(_MEMORY))
    what, since = ("bindings", _BINDINGS_FROM) if is_memory else ("built-ins", _BUILTINS_FROM)
    if options.language_version < since:
        version = ".".join(map(str, since))
        return f"{what} at program scope need Metal {version}: compile with -std=metal{version}"
    return _pointer_problem(name, words) if is_memory else None


def _pointer_problem(name: str, words: list[str]) -> str | None:
    if "&" in words:
        return f"'{name}' cannot be a reference at program scope: expected a pointer"
    if "*" in words and not set(words[_last(words, "*") :]) & set(CONSTANT_WORDS):
        return (
            "program scope variable must reside in constant address space: expected "
            f"'* constant {name}'"
        )
    return None


def _last(words: list[str], word: str) -> int:
    return len(words) - 1 - words[::-1].index(word)
