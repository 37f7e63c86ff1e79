"""Find the kernels of a Metal source: definitions, templates and their explicit instantiations."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.compiler.attributes import (
    UNSUPPORTED_FUNCTIONS,
    Attribute,
    AttributeGroup,
    group_at,
    groups,
    is_standard,
)
from metalgen.compiler.bindings import Parameter, choose_indices, read_binding
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.foreign import RENAMED_SUFFIX, is_foreign
from metalgen.compiler.scopes import Scope, Source
from metalgen.compiler.tokens import match_angle, split_at_commas

KERNEL_WORDS = ("kernel", "__kernel")
THREADGROUP_WORDS = ("threadgroup", "__local")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's declaration, template or not."""

    name: str
    namespaces: tuple[str, ...]
    start: int  # offset of the name
    parameters: tuple[Parameter, ...]
    is_template: bool
    host_name: str | None
    max_threads: str | None  # the expression in max_total_threads_per_threadgroup(...)
    first: int  # the declaration's first token
    body_end: int | None  # the token behind the body; None for a mere declaration


@dataclass(frozen=True, slots=True)
class Instantiation:
    """`template [[host_name("x")]] [[kernel]] decltype(f<A>) f<A>;`, tokens first to last.

    `parameters` are those of the other form, `... void f<A>(device float* x);`, which tells apart
    templates of one name.
    """

    expression: str
    name: str
    host_name: str | None
    max_threads: str | None
    start: int
    first: int
    last: int
    scope: Scope | None
    parameters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Everything about kernels in one source; `words` are the tokens that say `kernel`."""

    kernels: tuple[Kernel, ...]
    instantiations: tuple[Instantiation, ...]
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Head:
    """A kernel's declaration up to its parameters: tokens of the name, attributes seen."""

    first: int
    name_first: int
    name_last: int  # behind the last token of the name, template arguments included
    opener: int | None  # of the parameter list
    attributes: tuple[Attribute, ...]
    returns: str


def find_kernels(source: Source, complaints: Complaints) -> Found:
    """Every kernel declaration, definition and instantiation, in order."""
    kernels: list[Kernel] = []
    instantiations: list[Instantiation] = []
    words: list[int] = []
    for first in _declarations(source, words, complaints):
        head = _read_head(source, first)
        if head is None:
            complaints.add(source.tokens[first].start, "expected a function after 'kernel'")
        elif _is_instantiation(source, first):
            instantiations.append(_read_instantiation(source, head, complaints))
        else:
            kernels.append(_read_kernel(source, head, complaints))
    return Found(tuple(kernels), tuple(instantiations), tuple(words))


def _declarations(source: Source, words: list[int], complaints: Complaints) -> Iterator[int]:
    """The first token of each declaration that is marked as a kernel."""
    seen: set[int] = set()
    for at, token in enumerate(source.tokens):
        if token.text in KERNEL_WORDS and not _is_in_attribute(source, at):
            scope = source.scopes[at]
            if scope is not None and scope.kind == "function":
                continue  # a variable that happens to be called so; clang judges
            words.append(at)
        elif token.text == "[" and (group := group_at(source.tokens, at, source.pairs)):
            if not _marks_kernel(group, complaints):
                continue
        else:
            continue
        first = source.statement_start(at)
        if first not in seen:
            seen.add(first)
            yield first


def _is_in_attribute(source: Source, at: int) -> bool:
    return (
        at >= 2
        and source.tokens[at - 1].text in ("[", ",")
        and at + 1 < len(source.tokens)
        and (source.tokens[at + 1].text in ("]", ","))
    )


def _marks_kernel(group: AttributeGroup, complaints: Complaints) -> bool:
    for attribute in group.attributes:
        if attribute.name in UNSUPPORTED_FUNCTIONS:
            what = UNSUPPORTED_FUNCTIONS[attribute.name]
            complaints.add(attribute.start, f"not supported: {what}")
    return any(attribute.name == "kernel" for attribute in group.attributes)


def _is_instantiation(source: Source, first: int) -> bool:
    tokens = source.tokens
    return tokens[first].text == "template" and tokens[first + 1].text != "<"


def _read_head(source: Source, first: int) -> _Head | None:
    """Read from the first token of a declaration to its parameter list or its end."""
    tokens, pairs = source.tokens, source.pairs
    attributes: list[Attribute] = []
    specifiers: list[str] = []
    name_first = None
    name_last = at = first
    while at < len(tokens):
        text = tokens[at].text
        if (group := group_at(tokens, at, pairs)) is not None:
            attributes += group.attributes
            at = group.last
            continue
        if text in ("decltype", "__attribute__", "alignas", "requires") and at + 1 in pairs:
            specifiers.append(source.slice(at, pairs[at + 1] + 1))
            at = pairs[at + 1] + 1
            continue
        if text == "<":
            close = match_angle(tokens, at, pairs)
            if close is None:
                return None
            name_last = at = close + 1
            continue
        if text in (";", "(", "{", "}", "="):
            break
        if tokens[at].kind == "identifier" or text == "::":
            # The name is the last run of words joined by `::`.
            joined = name_first is not None and (text == "::" or tokens[at - 1].text == "::")
            if not joined:
                if name_first is not None:
                    specifiers.append(source.slice(name_first, at))
                name_first = at
            name_last = at + 1
        at += 1
    if name_first is None or at >= len(tokens) or tokens[at].text not in ("(", ";"):
        return None
    opener = at if tokens[at].text == "(" else None
    return _Head(first, name_first, name_last, opener, tuple(attributes), " ".join(specifiers))


def _read_kernel(source: Source, head: _Head, complaints: Complaints) -> Kernel:
    tokens, pairs = source.tokens, source.pairs
    scope = source.scopes[head.name_first]
    name = source.slice(head.name_first, head.name_last)
    start = tokens[head.name_first].start
    parameters: tuple[Parameter, ...] = ()
    attributes = head.attributes
    body_end = None
    if head.opener is None or head.opener not in pairs:
        complaints.add(start, f"expected the parameters of kernel '{name}'")
    else:
        close = pairs[head.opener]
        parameters = _read_parameters(source, head.opener, close, complaints)
        behind, trailing = _behind_parameters(source, close + 1)
        attributes += trailing
        if behind < len(tokens) and tokens[behind].text == "{" and behind in pairs:
            body_end = pairs[behind] + 1
    _check_returns(head, name, start, complaints)
    host_name, max_threads = _function_attributes(source, attributes, complaints)
    return Kernel(
        name=name,
        namespaces=scope.namespaces() if scope else (),
        start=start,
        parameters=choose_indices(parameters, complaints),
        is_template=tokens[head.first].text == "template",
        host_name=host_name,
        max_threads=max_threads,
        first=head.first,
        body_end=body_end,
    )


def _check_returns(head: _Head, name: str, start: int, complaints: Complaints) -> None:
    if name == "main":
        complaints.add(start, "a kernel cannot be named 'main'")
    returned = head.returns.split()
    if "void" not in returned:
        complaints.add(start, f"kernel '{name}' must return void")


def _behind_parameters(source: Source, at: int) -> tuple[int, tuple[Attribute, ...]]:
    attributes: list[Attribute] = []
    while (group := group_at(source.tokens, at, source.pairs)) is not None:
        attributes += group.attributes
        at = group.last
    return at, tuple(attributes)


def _function_attributes(
    source: Source, attributes: tuple[Attribute, ...], complaints: Complaints
) -> tuple[str | None, str | None]:
    """host_name and max_total_threads_per_threadgroup, where given."""
    host_name = max_threads = None
    for attribute in attributes:
        text = source.slice(attribute.first, attribute.last)
        if attribute.name == "host_name":
            host_name = _read_strings(source, attribute, complaints)
        elif attribute.name == "max_total_threads_per_threadgroup":
            max_threads = text
        elif (
            attribute.name not in ("kernel", "user_annotation", "required_threads_per_threadgroup")
            and attribute.name not in UNSUPPORTED_FUNCTIONS
            and not is_standard(attribute.name)
        ):
            complaints.add(attribute.start, f"unknown attribute '{attribute.name}'")
    return host_name, max_threads


def _read_strings(source: Source, attribute: Attribute, complaints: Complaints) -> str | None:
    tokens = source.tokens[attribute.first : attribute.last]
    if not tokens or any(token.kind != "string" for token in tokens):
        complaints.add(attribute.start, "'host_name' expects a string literal")
        return None
    name = "".join(str(ast.literal_eval(token.text)) for token in tokens)
    if not name or not name.isprintable() or '"' in name or "\\" in name:
        complaints.add(attribute.start, f"'host_name' expects a printable name, found {name!r}")
        return None
    return name


def _read_parameters(
    source: Source, opener: int, close: int, complaints: Complaints
) -> tuple[Parameter, ...]:
    parts = split_at_commas(source.tokens, opener + 1, close, source.pairs)
    if len(parts) == 1 and source.slice(*parts[0]) == "void":
        return ()
    return tuple(_read_parameter(source, first, last, complaints) for first, last in parts)


def _read_parameter(source: Source, first: int, last: int, complaints: Complaints) -> Parameter:
    tokens = source.tokens
    found = list(groups(tokens, first, last, source.pairs))
    attributes = [attribute for group in found for attribute in group.attributes]
    hidden = {at for group in found for at in range(group.first, group.last)}
    visible = [at for at in range(first, last) if at not in hidden]
    words = [tokens[at].text for at in visible]
    name_at = _name_of(source, visible)
    return Parameter(
        name=tokens[name_at].text if name_at is not None else "",
        start=tokens[name_at if name_at is not None else min(first, len(tokens) - 1)].start,
        binding=read_binding(source, attributes, complaints),
        is_threadgroup=any(word in THREADGROUP_WORDS for word in words),
    )


def _name_of(source: Source, visible: list[int]) -> int | None:
    """The declared name: the last identifier in front of an array bound or default value."""
    name = None
    depth = 0
    for at in visible:
        token = source.tokens[at]
        if token.text == "=" and depth == 0:
            break
        depth += (token.text in ("<", "(", "[")) - (token.text in (">", ")", "]"))
        # `T (&name)[4]` puts the name in parentheses; nothing else with depth can be it.
        if token.kind == "identifier" and (
            depth == 0 or (depth == 1 and source.tokens[at - 1].text in ("&", "*"))
        ):
            name = at
    return name


def _read_instantiation(source: Source, head: _Head, complaints: Complaints) -> Instantiation:
    tokens = source.tokens
    last = head.name_last
    while last < len(tokens) and tokens[last].text != ";":
        last = source.pairs.get(last, last) + 1
    expression = source.slice(head.name_first, head.name_last)
    close_attributes: tuple[Attribute, ...] = ()
    parameters = None
    if head.opener is not None and head.opener in source.pairs:
        close = source.pairs[head.opener]
        _, close_attributes = _behind_parameters(source, close + 1)
        parameters = _parameter_texts(source, head.opener, close)
    host_name, max_threads = _function_attributes(
        source, head.attributes + close_attributes, complaints
    )
    return Instantiation(
        expression=expression,
        name=expression.split("<")[0].strip(),
        host_name=host_name,
        max_threads=max_threads,
        start=tokens[head.name_first].start,
        first=head.first,
        last=min(last + 1, len(tokens)),
        scope=source.scopes[head.name_first],
        parameters=parameters,
    )


def _parameter_texts(source: Source, opener: int, close: int) -> tuple[str, ...]:
    """Each parameter without its attributes."""
    texts: list[str] = []
    for first, last in split_at_commas(source.tokens, opener + 1, close, source.pairs):
        hidden = {
            at
            for group in groups(source.tokens, first, last, source.pairs)
            for at in range(group.first, group.last)
        }
        words = (source.tokens[at].text for at in range(first, last) if at not in hidden)
        texts.append(" ".join(f"{w}{RENAMED_SUFFIX}" if is_foreign(w) else w for w in words))
    return tuple(texts)
