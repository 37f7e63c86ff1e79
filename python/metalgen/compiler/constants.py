"""Function constants, and the forms of `constant` that clang wants spelled differently."""

from __future__ import annotations

from dataclasses import dataclass

from metalgen.compiler.attributes import groups
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source

CONSTANT_WORDS = ("constant", "__constant")
CONSTANT_SYMBOL = "__metalgen_function_constant_"
DEFINED_SYMBOL = "__metalgen_is_defined_"
_MAXIMUM = 65535


@dataclass(frozen=True, slots=True)
class Constant:
    """`constant T name [[function_constant(index)]]`; its symbol carries `number`."""

    number: int
    name: str
    index: int
    type_name: str
    start: int


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
            constant = _read_function_constant(source, at, len(constants), edits, complaints)
            if constant is not None:
                constants.append(constant)
    _rewrite_tests(source, constants, edits)
    return tuple(constants)


def _rewrite_local(source: Source, at: int, edits: Edits) -> None:
    """`constexpr constant float a[] = {...}` in a function: static, or clang refuses it."""
    first = source.statement_start(at)
    words = [token.text for token in source.tokens[first:at]]
    if "constexpr" not in words and "const" not in words:
        words += [token.text for token in source.tokens[at + 1 : at + 2]]
    if not {"constexpr", "const"} & set(words) or not set(words) <= {
        "constexpr",
        "const",
        "static",
    }:
        return
    token = source.tokens[at]
    if "static" not in words and not _declares_pointer(source, at):
        edits.insert(source.tokens[first].start, "static ")
    del token


def _declares_pointer(source: Source, at: int) -> bool:
    while at < len(source.tokens) and source.tokens[at].text not in ("=", ";", "{", ")"):
        if source.tokens[at].text in ("*", "&"):
            return True
        at = source.pairs.get(at, at) + 1
    return False


def _read_function_constant(
    source: Source, at: int, number: int, edits: Edits, complaints: Complaints
) -> Constant | None:
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
        for attribute in group.attributes:
            if attribute.name == "function_constant":
                text = source.slice(attribute.first, attribute.last)
                break
        else:
            continue
        break
    else:
        return None
    name_at = group.first - 1
    if tokens[name_at].kind != "identifier" or name_at <= at:
        complaints.add(attribute.start, "expected 'constant T name [[function_constant(n)]]'")
        return None
    name = tokens[name_at]
    index = _index(text, attribute.start, complaints)
    if tokens[last].text != ";":
        complaints.add(name.start, f"function constant '{name.text}' cannot be initialized")
    words = [
        token.text
        for token in tokens[first:name_at]
        if token.text not in (*CONSTANT_WORDS, "const", "static", "extern", "constexpr")
    ]
    type_name = " ".join(words)
    edits.replace(
        tokens[first].start,
        tokens[last - 1].end,
        f"extern const __constant {type_name} {name.text} "
        f'__asm("{CONSTANT_SYMBOL}{number}"); '
        f"extern const __constant bool {DEFINED_SYMBOL}{name.text} "
        f'__asm("{DEFINED_SYMBOL}{number}")',
        name.start,
    )
    return Constant(number, name.text, index, type_name, name.start)


def _index(text: str, start: int, complaints: Complaints) -> int:
    try:
        index = int(text.rstrip("uU"), 0)
    except ValueError:
        index = -1
    if not 0 <= index <= _MAXIMUM:
        complaints.add(
            start, f"'function_constant' expects an index from 0 to {_MAXIMUM}, found '{text}'"
        )
    return index


def _rewrite_tests(source: Source, constants: list[Constant], edits: Edits) -> None:
    """`is_function_constant_defined(name)` reads a second external variable."""
    names = {constant.name for constant in constants}
    for at, token in enumerate(source.tokens):
        if token.text != "is_function_constant_defined" or at + 1 not in source.pairs:
            continue
        argument = source.tokens[at + 2]
        if argument.text in names:
            close = source.pairs[at + 1]
            edits.replace(token.start, source.tokens[close].end, DEFINED_SYMBOL + argument.text)
