"""Changes to a source that only some need, made when clang's errors ask for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from metalgen.compiler.anonymous import copy_bytes
from metalgen.compiler.braces import drop_parentheses
from metalgen.compiler.casts import widen_casts
from metalgen.compiler.choices import load_choices
from metalgen.compiler.compounds import expand_compounds
from metalgen.compiler.constness import add_const
from metalgen.compiler.edits import Edits, Rewritten
from metalgen.compiler.loops import write_out_loops
from metalgen.compiler.members import add_constant_members
from metalgen.compiler.objects import place_objects_in_thread
from metalgen.compiler.scopes import Source, read_source
from metalgen.compiler.swizzles import compose_swizzles
from metalgen.compiler.tokens import match_angle, tokenize
from metalgen.compiler.volatility import drop_volatile

_PLACE = re.compile(r"^<stdin>:(\d+):(\d+): ")


@dataclass(frozen=True, slots=True)
class Repair:
    """What to do about errors that one of `patterns` matches.

    `edit` is given the text and the offsets in it that those errors are at, or those whose notes
    match. One that only works there may be needed again: clang stops at the first error of an
    expression.
    """

    patterns: tuple[re.Pattern[str], ...]
    edit: Callable[[str, list[int]], Edits]
    is_local: bool = False


def find_repair(
    repairs: list[Repair], errors: str, rewritten: Rewritten
) -> tuple[Repair, list[int]] | None:
    """The first repair that clang's errors ask for, and where they are."""
    for repair in repairs:
        offsets: list[int] = []
        is_needed = False
        place: re.Match[str] | None = None
        for line in errors.splitlines():
            if ": error: " in line:
                place = _PLACE.match(line)
            if any(pattern.search(line) for pattern in repair.patterns):
                is_needed = True
                if place:
                    offset = rewritten.offset_at(int(place[1]), int(place[2]))
                    offsets.append(rewritten.source_offset(offset))
        if is_needed:
            return repair, offsets
    return None


def relax_thread_references(text: str, _: list[int]) -> Edits:
    """`const thread T&` becomes generic: clang keeps temporaries out of the thread space.

    What replaces `thread` is a macro without content, which tells that there was a qualifier.
    """
    source = read_source(text, tokenize(text))
    edits = Edits(text)
    for at, token in enumerate(source.tokens):
        if token.text in ("thread", "__private") and _is_const_reference(source, at):
            edits.replace(token.start, token.end, "__metalgen_any_space")
    return edits


def _is_const_reference(source: Source, word: int) -> bool:
    """Whether `thread` at `word` qualifies what a reference to const refers to."""
    tokens = source.tokens
    is_const = tokens[word - 1].text == "const"
    at = word + 1
    while at < len(tokens):
        text = tokens[at].text
        if text == "const":
            is_const = True
        elif text == "<":
            close = match_angle(tokens, at, source.pairs)
            if close is None:
                return False
            at = close
        elif text == "&":
            return is_const
        elif tokens[at].kind != "identifier" and text != "::":
            return False
        at += 1
    return False


REPAIRS = (
    Repair(
        (re.compile(r": (?:error|note): .*'[^']*\bvolatile\b|not marked volatile"),),
        lambda text, _: drop_volatile(text),
    ),
    Repair(
        (
            re.compile(
                r"cannot initialize object parameter of type .* with an expression of type "
                r"'[^']*__constant"
            ),
            re.compile(r"'__constant'.* object in address space '__generic'"),
        ),
        lambda text, _: add_constant_members(text),
    ),
    Repair(
        (re.compile(r"error: no matching constructor for .*\(anonymous "),),
        copy_bytes,
        is_local=True,
    ),
    Repair(
        (
            re.compile(r"cannot bind to a temporary object because of address space mismatch"),
            re.compile(
                r"cannot bind reference in default address space to object in address space "
                r"'__private'"
            ),
            re.compile(
                r"binding reference of type 'const __private [^']*' to value of type "
                r"'(?!(?:const )?__)[^']*' changes address space"
            ),
        ),
        relax_thread_references,
    ),
    Repair(
        (
            re.compile(r"from 'const __constant [^']*' to '__constant [^']*\*"),
            re.compile(
                r"cannot initialize (?:a \S+|a member subobject|return object|an array element) of "
                r"type '__constant [^']*' with an \w+ of type 'const __constant"
            ),
            re.compile(r"argument \('const __constant [^']*'\) would lose const qualifier"),
            re.compile(r"would make '__constant [^']*' equal 'const __constant"),
            re.compile(r"^(?=.*'__constant [^']*').*'const __constant [^']*' discards qualifiers"),
            re.compile(r"reference of type '__constant [^']*' to value of type 'const __constant"),
        ),
        lambda text, _: add_const(text),
    ),
    Repair(
        (
            re.compile(r"cannot initialize object parameter of type '(?:const )?__private "),
            re.compile(r"object is in address space '__generic', but method .* '__private'"),
            re.compile(r"bind reference in address space '__generic' to object in .* '__private'"),
            re.compile(r"binding reference of type '(?:const )?__private .*'(?:const )?__generic "),
            re.compile(r"from '(?:const )?__generic [^']*' to '(?:const )?__private "),
            re.compile(r"address space '__generic' as a \w+ to address space '__private'"),
            re.compile(r"match '(?:const )?__private [^']*' against '(?:const )?__generic "),
            re.compile(r"of type '(?:const )?__private [^']*' with an .* '(?:const )?__generic "),
        ),
        place_objects_in_thread,
        is_local=True,
    ),
    Repair(
        (re.compile(r"in implicit call to 'operator(?:\*|!=|\+\+)' for iterator of type"),),
        write_out_loops,
        is_local=True,
    ),
    Repair(
        (re.compile(r"cast from .*(?:half.*__bf16|__bf16.*half).* is not allowed"),),
        widen_casts,
        is_local=True,
    ),
    Repair(
        (re.compile(r"invalid operands to binary expression \('(?:<pseudo-object type>|.*\*)"),),
        expand_compounds,
        is_local=True,
    ),
    Repair(
        (re.compile(r"incompatible operand types \('.*__(?:global|local|constant|private).*'\)"),),
        load_choices,
        is_local=True,
    ),
    Repair(
        (re.compile(r"call to constructor of '.*' is ambiguous"),),
        drop_parentheses,
        is_local=True,
    ),
    Repair(
        (re.compile(r"no matching member function for call to '__put_\w+'"),),
        compose_swizzles,
        is_local=True,
    ),
)
