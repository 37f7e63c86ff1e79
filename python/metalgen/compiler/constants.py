"""Function constants, and the forms of `constant` that clang wants spelled differently."""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.compiler.attributes import Attribute, groups
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source

CONSTANT_WORDS = ("constant", "__constant")
CONSTANT_SYMBOL = "__metalgen_function_constant_"
DESCRIPTION_SYMBOL = "__metalgen_described_constant_"
_SPECIFIERS = frozenset({*CONSTANT_WORDS, "const", "static", "extern", "constexpr"})


@dataclass(frozen=True, slots=True)
class Constant:
    """`constant T name [[function_constant(index)]]`; its symbol carries `number`.

    The compiled module says of which type it is and what its index comes to.
    """

    number: int
    name: str
    index_text: str
    start: int
    index_start: int


def rewrite_constants(source: Source, edits: Edits, complaints: Complaints) -> tuple[Constant, ...]:
    """Make function constants external variables, and constants in functions static ones."""
    constants: list[Constant] = []
    for at, token in enumerate(source.tokens):
        if token.text not in CONSTANT_WORDS:
            continue
        scope = source.scopes[at]
        if scope is not None and scope.kind == "function":
            _rewrite_local(source, at, edits)
        elif scope is None or scope.kind == "namespace":
            found = _find_attribute(source, at)
            if found is not None:
                constants.append(_rewrite(source, at, len(constants), found, edits, complaints))
    _rewrite_tests(source, {constant.name for constant in constants}, edits)
    return tuple(constants)


def _rewrite_local(source: Source, at: int, edits: Edits) -> None:
    """`constexpr constant float a[] = {...}` in a function: static, or clang refuses it."""
    first = source.statement_start(at)
    words = {token.text for token in source.tokens[first : at + 2]} & _SPECIFIERS
    in_front = {token.text for token in source.tokens[first:at]}
    if (
        in_front <= _SPECIFIERS
        and {"constexpr", "const"} & words
        and "static" not in words
        and not _declares_pointer(source, at)
    ):
        edits.insert(source.tokens[first].start, "static ")


def _declares_pointer(source: Source, at: int) -> bool:
    while at < len(source.tokens) and source.tokens[at].text not in ("=", ";", "{", ")"):
        if source.tokens[at].text in ("*", "&"):
            return True
        if source.tokens[at].text == "(" and source.tokens[at + 1].text in ("*", "&"):
            return True  # `constant T (&x)[n]`
        at = source.pairs.get(at, at) + 1
    return False


@dataclass(frozen=True, slots=True)
class _Found:
    """A function constant's declaration: its tokens, and the attribute behind the name."""

    first: int
    last: int  # the token that ends the declarator
    name_at: int
    attribute: Attribute


def _find_attribute(source: Source, at: int) -> _Found | None:
    """The function constant that `constant` at token `at` declares, if it does."""
    tokens = source.tokens
    first = source.statement_start(at)
    if any(token.text in ("(", "<", "typename") for token in tokens[first:at]):
        return None  # a parameter
    last = at
    while last < len(tokens) and tokens[last].text not in (";", "=", "{"):
        if tokens[last].text in ("(", ")", ","):
            return None
        last = source.pairs.get(last, last) + 1
    for group in groups(tokens, first, last, source.pairs):
        if any(attribute.name in ("buffer", "threadgroup") for attribute in group.attributes):
            return None  # a binding that depends on one
        for attribute in group.attributes:
            if attribute.name == "function_constant":
                return _Found(first, last, group.first - 1, attribute)
    return None


def _rewrite(
    source: Source, at: int, number: int, found: _Found, edits: Edits, complaints: Complaints
) -> Constant:
    tokens = source.tokens
    name = tokens[found.name_at]
    if name.kind != "identifier" or found.name_at <= at + 1:
        message = "expected 'constant T name [[function_constant(n)]]'"
        complaints.add(found.attribute.start, message)
    elif found.last >= len(tokens) or tokens[found.last].text != ";":
        complaints.add(name.start, f"function constant '{name.text}' cannot be initialized")
    words = (token.text for token in tokens[found.first : found.name_at])
    type_name = " ".join(word for word in words if word not in _SPECIFIERS)
    attribute = found.attribute
    index = source.slice(attribute.first, attribute.last)
    if not index:
        complaints.add(attribute.start, "'function_constant' expects an index")
    declaration = (
        f'extern const __constant {type_name} {name.text} __asm("{CONSTANT_SYMBOL}{number}");'
        f' extern "C" __constant const char* const __constant {DESCRIPTION_SYMBOL}{number} ='
        f" ::__metalgen::describe<::__metalgen::function_constant<"
        f"typename ::__metalgen::bare<decltype({name.text})>::type, ({index or 0})>>()"
    )
    start, end = tokens[found.first].start, tokens[found.last - 1].end
    edits.replace(start, end, declaration, name.start)
    return Constant(number, name.text, index, name.start, attribute.start)


def _rewrite_tests(source: Source, names: set[str], edits: Edits) -> None:
    """`is_function_constant_defined(name)` is about the variable, not its value."""
    for at, token in enumerate(source.tokens):
        if token.text != "is_function_constant_defined" or at + 1 not in source.pairs:
            continue
        argument = source.tokens[at + 2]
        if argument.text in names:
            first = at - 2 if source.tokens[at - 1].text == "::" else at
            end = source.tokens[source.pairs[at + 1]].end
            call = f"::__metalgen::is_function_constant_defined(&{argument.text})"
            edits.replace(source.tokens[first].start, end, call)
