"""Turn preprocessed Metal source into what clang accepts as C++ for OpenCL, token by token."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metalgen.compiler.arrays import qualify_array_parameters
from metalgen.compiler.attributes import group_at, is_standard
from metalgen.compiler.callables import rewrite_function_parameters
from metalgen.compiler.complaints import Complaint, Complaints
from metalgen.compiler.constants import Constant, rewrite_constants
from metalgen.compiler.constructors import rewrite_constructors
from metalgen.compiler.edits import Edits, Rewritten
from metalgen.compiler.fields import FieldNames, declare_fields
from metalgen.compiler.foreign import RENAMED_SUFFIX, is_foreign
from metalgen.compiler.kernels import Found, Instantiation, Kernel, find_kernels
from metalgen.compiler.lengths import rewrite_lengths
from metalgen.compiler.linked import link_functions
from metalgen.compiler.members import qualify_thread_members
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.pointers import check_pointers
from metalgen.compiler.pragmas import rewrite_pragma, strictness
from metalgen.compiler.preprocess import Preprocessed
from metalgen.compiler.program_scope import Global, rewrite_globals
from metalgen.compiler.restrictions import check_restrictions
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.threadgroup import rewrite_threadgroup_variables
from metalgen.compiler.tokens import Token, tokenize
from metalgen.compiler.wrappers import (
    INTERNAL,
    INTERNAL_END,
    Entry,
    limit_call,
    template_limit,
    wrapper,
)

_HALF = re.compile(r"^(.*[\d.])[hH]$")
_BFLOAT = re.compile(r"^(.*[\d.])(?:bf|BF)$")
_LONG_DOUBLE = re.compile(r"^(?:\d[\d']*\.|\.|\d+[eE]|0[xX][^lL]*[.pP]).*[lL]$")
_DOUBLE = re.compile(r"^(?:(?=.*[.eE])[\d.'eE+-]+|0[xX][\da-fA-F.']+[pP][+-]?\d+)$")


@dataclass(frozen=True, slots=True)
class Translation:
    """The source as clang is to see it, and what the compiled module has to be made into."""

    rewritten: Rewritten
    entries: tuple[Entry, ...]
    constants: tuple[Constant, ...]
    globals: tuple[Global, ...]
    field_names: FieldNames
    complaints: tuple[Complaint, ...]


def rewrite(preprocessed: Preprocessed, options: CompileOptions) -> Translation:
    """Rewrite the user's part of a source; what is wrong with it is among the complaints."""
    source = read_source(preprocessed.text, tokenize(preprocessed.text))
    edits = Edits(preprocessed.text)
    complaints = Complaints()
    start = _first_word(source)
    opening = strictness(preprocessed.text).opening(options.math)
    if opening and not strictness(preprocessed.text[:start]).opening(options.math):
        edits.insert(start, opening)
    found = find_kernels(source, complaints)
    entries = _add_wrappers(source, found, edits, complaints)
    variables = rewrite_globals(source, options, edits, complaints)
    constants = rewrite_constants(source, edits, complaints)
    rewrite_threadgroup_variables(source, edits, complaints)
    qualify_thread_members(source, edits)
    rewrite_constructors(source, edits)
    rewrite_function_parameters(source, edits)
    qualify_array_parameters(source, edits)
    rewrite_lengths(source, edits)
    field_names = declare_fields(source, edits)
    link_functions(source, edits)
    check_pointers(source, complaints)
    check_restrictions(source, options, complaints)
    _rewrite_words(source, found, edits, complaints)
    _remove_attributes(source, edits)
    edits.insert(start, INTERNAL)
    edits.insert(len(preprocessed.text), INTERNAL_END)
    return Translation(
        edits.apply(),
        tuple(entries),
        constants,
        variables,
        field_names,
        tuple(complaints.found),
    )


def _first_word(source: Source) -> int:
    """Where the source begins but for pragmas, whose lines take nothing more."""
    starts = (token.start for token in source.tokens if token.kind != "pragma")
    return next(starts, len(source.text))


def _add_wrappers(
    source: Source, found: Found, edits: Edits, complaints: Complaints
) -> list[Entry]:
    """Behind each kernel, and in the place of each instantiation, a function for AIR to show."""
    entries: list[Entry] = []
    for kernel in found.kernels:
        if not kernel.is_template and not is_foreign(kernel.name):
            # Under its own name it may overload one of Metal's functions, `exp` or `max`.
            edits.insert(kernel.start + len(kernel.name), RENAMED_SUFFIX)
        if kernel.is_template and kernel.max_threads:
            limit = template_limit(source, kernel)
            edits.insert_echo(source.tokens[kernel.first].start, limit, kernel.start)
        if kernel.body_end is None or kernel.is_template:
            continue
        own_name = "::".join((*kernel.namespaces, kernel.name))
        name = kernel.host_name or own_name
        expression = kernel.name + RENAMED_SUFFIX
        entry = Entry(len(entries), name, kernel, expression, kernel.start, kernel.max_threads)
        entries.append(entry)
        behind = source.tokens[kernel.body_end - 1].end
        edits.insert_echo(behind, wrapper(entry), kernel.start)
    for instantiation in found.instantiations:
        entry_or_none = _instantiate(instantiation, found, len(entries), complaints)
        start = source.tokens[instantiation.first].start
        end = source.tokens[instantiation.last - 1].end
        replacement = ""
        if entry_or_none is not None:
            entries.append(entry_or_none)
            replacement = wrapper(entry_or_none)
        edits.replace(start, end, replacement, instantiation.start)
    _check_names(entries, complaints)
    return entries


def _instantiate(
    instantiation: Instantiation, found: Found, number: int, complaints: Complaints
) -> Entry | None:
    kernel = _kernel_named(instantiation, found)
    if kernel is None:
        complaints.add(
            instantiation.start, f"explicit instantiation of unknown kernel '{instantiation.name}'"
        )
        return None
    return Entry(
        number,
        instantiation.host_name or instantiation.expression,
        kernel,
        instantiation.expression,
        instantiation.start,
        instantiation.max_threads
        or (limit_call(instantiation.expression) if kernel.max_threads else None),
        instantiation.parameters,
    )


def _kernel_named(instantiation: Instantiation, found: Found) -> Kernel | None:
    """The kernel an instantiation names, looked up from its namespace outwards."""
    around = instantiation.scope.namespaces() if instantiation.scope else ()
    wanted = instantiation.name.removeprefix("::")
    for depth in range(len(around), -1, -1):
        qualified = "::".join((*around[:depth], wanted))
        kernels = [k for k in found.kernels if "::".join((*k.namespaces, k.name)) == qualified]
        if kernels:
            return _overload(kernels, instantiation)
    last = wanted.rsplit("::", 1)[-1]
    return next((kernel for kernel in found.kernels if kernel.name == last), None)


def _overload(kernels: list[Kernel], instantiation: Instantiation) -> Kernel:
    """The one of several templates with the parameters that the instantiation lists."""
    listed = instantiation.parameters
    if listed is not None:
        names = [text.split()[-1] if text else "" for text in listed]
        fitting = [kernel for kernel in kernels if len(kernel.parameters) == len(listed)]
        same = [k for k in fitting if [p.name for p in k.parameters] == names]
        kernels = same or fitting or kernels
    return kernels[0]


def _check_names(entries: list[Entry], complaints: Complaints) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        if first.setdefault(entry.host_name, entry) is not entry:
            complaints.add(entry.start, f"kernel name '{entry.host_name}' is already taken")


def _rewrite_words(source: Source, found: Found, edits: Edits, complaints: Complaints) -> None:
    for at in found.words:
        edits.remove(source.tokens[at].start, source.tokens[at].end)
    for at, token in enumerate(source.tokens):
        if token.kind == "number":
            if _LONG_DOUBLE.match(token.text):
                complaints.add(token.start, "'long double' is not supported in Metal")
            _rewrite_number(token, edits)
        elif token.kind == "pragma":
            rewrite_pragma(source, at, edits, complaints)
        elif token.kind == "identifier" and is_foreign(token.text):
            edits.replace(token.start, token.end, token.text + RENAMED_SUFFIX)


def _rewrite_number(token: Token, edits: Edits) -> None:
    is_hex = token.text[:2] in ("0x", "0X")  # whose digits may end in what is a suffix elsewhere
    if not is_hex and (found := _BFLOAT.match(token.text)):
        edits.replace(token.start, token.end, f"((__bf16){found[1]}f)")
    elif not is_hex and (found := _HALF.match(token.text)):
        # C++ wants a point or an exponent in front of the suffix.
        digits = found[1] if re.search(r"[.eE]", found[1]) else found[1] + ".0"
        edits.replace(token.start, token.end, digits + "h")
    elif _DOUBLE.match(token.text):
        # clang's option that makes it a float is forgotten where templates are instantiated.
        edits.insert(token.end, "f")


def _remove_attributes(source: Source, edits: Edits) -> None:
    """Take out the attributes that clang does not know; it would refuse some of them."""
    tokens = source.tokens
    for at, token in enumerate(tokens):
        if token.text != "[":
            continue
        group = group_at(tokens, at, source.pairs)
        if group and not all(is_standard(attribute.name) for attribute in group.attributes):
            edits.remove(token.start, tokens[group.last - 1].end)
