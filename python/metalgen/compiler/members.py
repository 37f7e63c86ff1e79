"""Member functions whose object may lie anywhere in Metal, but not for clang.

Without a qualifier `this` is generic for clang. A function that hands out `thread T&` must say
`thread`; and since generic pointers cannot point to constant memory, objects there need an
overload of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Scope, Source, read_source
from metalgen.compiler.tokens import tokenize

_SPACE_WORDS = frozenset(
    {"thread", "device", "constant", "threadgroup", "__private", "__global", "__constant"}
    | {"__local", "__generic"}
)
_THREAD_WORDS = frozenset({"thread", "__private"})
_CONSTANT_WORDS = frozenset({"constant", "__constant"})
_NOT_METHODS = frozenset({"static", "friend", "using", "typedef", "template"})


@dataclass(frozen=True, slots=True)
class _Method:
    """A member function: the tokens of its declaration, its parameters' end, its body."""

    first: int
    qualifiers_end: int  # behind `)`, `const` and other qualifiers
    body_end: int | None  # behind the `}`
    scope: Scope
    is_const: bool
    is_qualified: bool
    is_constant: bool  # for objects in constant memory
    returns: tuple[str, ...]

    @property
    def hands_out_thread(self) -> bool:
        """Whether it returns a pointer or reference to thread memory."""
        return bool({"&", "*"} & set(self.returns) and _THREAD_WORDS & set(self.returns))

    @property
    def serves_constant(self) -> bool:
        """Whether objects in constant memory need an overload."""
        unqualified = not self.is_qualified and not self.hands_out_thread
        return self.is_const and unqualified and self.body_end is not None


def qualify_thread_members(source: Source, edits: Edits) -> None:
    """Say `thread` on member functions that return pointers or references into the object.

    Objects in constant memory are const, and so are the member functions for them.
    `return *this = x;` becomes two statements: clang's own assignments return generic references.
    """
    for method in _methods(source):
        if method.is_constant and not method.is_const:
            edits.insert(source.tokens[method.qualifiers_end - 1].end, " const")
        if method.hands_out_thread and not method.is_qualified:
            edits.insert(source.tokens[method.qualifiers_end - 1].end, " __private")
        if method.hands_out_thread and method.body_end is not None:
            _split_returns(source, method.qualifiers_end, method.body_end, edits)


def _split_returns(source: Source, first: int, last: int, edits: Edits) -> None:
    tokens = source.tokens
    for at in range(first, last):
        words = [token.text for token in tokens[at : at + 4]]
        if words != ["return", "*", "this", "="]:
            continue
        end = at
        while end < last and tokens[end].text != ";":
            end = source.pairs.get(end, end) + 1
        edits.replace(tokens[at].start, tokens[at].end, "{")
        edits.insert(tokens[end].end, " return *this; }")


def add_constant_members(text: str) -> Edits:
    """Let objects in constant memory be copied, and their const member functions be called."""
    source = read_source(text, tokenize(text))
    edits = Edits(text)
    for method in _methods(source):
        if method.serves_constant and method.body_end is not None:
            first, middle = method.first, method.qualifiers_end
            copy = (
                f" {source.one_line(first, middle)} __constant "
                f"{source.one_line(middle, method.body_end)}"
            )
            anchor = source.tokens[first].start
            edits.insert_echo(source.tokens[method.body_end - 1].end, copy, anchor)
    for scope in source.all_scopes():
        _add_copies(source, scope, edits)
    return edits


def unqualified_method(source: Source, at: int) -> int | None:
    """Behind the qualifiers of the member function around token `at`, if it has no space's."""
    for method in _methods(source):
        if method.body_end is not None and method.first <= at < method.body_end:
            return None if method.is_qualified else method.qualifiers_end
    return None


def _add_copies(source: Source, scope: Scope, edits: Edits) -> None:
    """Default the copying members, for generic and for constant memory.

    Defaulted members keep a class an aggregate, and trivial to copy.
    """
    name = source.class_name(scope)
    if name is None:
        name = _typedef_name(source, scope) or _made_up_name(source, scope)
        if name is None:
            return
        # Constructors need a name, and a class may have the one that a typedef gives it.
        edits.insert(source.tokens[source.class_key(scope)].end, f" {name}")
    constructors, assigns = _special_members(source, scope, name)
    added = ""
    if not constructors:
        added += f" {name}() = default;"
    if not any("&" in parameters for parameters in constructors):
        added += f" {name}(const __generic {name}&) = default;"
        added += f" {name}(const __constant {name}&) = default;"
    if not assigns:
        added += f" __generic {name}& operator=(const __generic {name}&) = default;"
        if _is_in_function(scope):
            added += f" __generic {name}& operator=(const __constant {name}&) = default;"
        else:
            # Defaulted, it would assign each member, for which clang finds no one way.
            added += (
                f" template <class S> __generic {name}& operator=(const __constant S& other)"
                " { return *this = S(other); }"
            )
    if added and source.is_private(scope):
        added = f" public:{added} private:"
    edits.insert(source.tokens[scope.opener].end, added)


def _is_in_function(scope: Scope) -> bool:
    """Whether a class is local, and so without templates."""
    parent = scope.parent
    while parent is not None and parent.kind != "function":
        parent = parent.parent
    return parent is not None


def _typedef_name(source: Source, scope: Scope) -> str | None:
    """The `S` of `typedef struct {...} S;`."""
    tokens = source.tokens
    behind = source.pairs[scope.opener] + 1
    if scope.kind != "class" or tokens[scope.head].text != "typedef":
        return None
    if behind + 1 >= len(tokens) or tokens[behind + 1].text != ";":
        return None
    return tokens[behind].text if tokens[behind].kind == "identifier" else None


def _made_up_name(source: Source, scope: Scope) -> str | None:
    """One for the class in `struct {...} s;`; without the `s` its members are those of another.

    Such another, an anonymous union, can hold no class with a name.
    """
    parent = scope.parent
    is_class = scope.kind == "class" and source.class_key(scope) != scope.opener
    if not is_class or not _has_declarator(source, scope):
        return None
    if parent is not None and parent.kind == "class" and source.class_name(parent) is None:
        return None
    return f"__metalgen_unnamed_{source.tokens[scope.opener].start}"


def _has_declarator(source: Source, scope: Scope) -> bool:
    return source.tokens[source.pairs[scope.opener] + 1].kind == "identifier"


def _special_members(source: Source, scope: Scope, name: str) -> tuple[list[list[str]], bool]:
    """The parameters of each constructor, and whether the class declares an assignment."""
    tokens = source.tokens
    constructors: list[list[str]] = []
    assigns = False
    for at in range(scope.opener + 1, source.pairs[scope.opener]):
        if source.scopes[at] is not scope or tokens[at + 1].text not in ("(", "="):
            continue
        if tokens[at].text == name and at + 1 in source.pairs and tokens[at - 1].text != "~":
            inside = tokens[at + 2 : source.pairs[at + 1]]
            constructors.append([token.text for token in inside])
        assigns = assigns or (tokens[at].text == "operator" and tokens[at + 1].text == "=")
    return constructors, assigns


def _methods(source: Source) -> Iterator[_Method]:
    for at, token in enumerate(source.tokens):
        scope = source.scopes[at]
        if token.text == "(" and scope is not None and scope.kind == "class" and at in source.pairs:
            method = _read_method(source, at, scope)
            if method is not None:
                yield method


def _read_method(source: Source, opener: int, scope: Scope) -> _Method | None:
    tokens, pairs = source.tokens, source.pairs
    first = source.statement_start(opener)
    if source.slice(opener - 3, opener).replace(" ", "") == "operator()":
        return None  # read from the pair of parentheses that is its name
    template_end = source.template_end(first)
    words = _words(source, template_end, opener)
    if not words or ("=" in words and "operator" not in words):
        return None  # a member with a default value
    if _NOT_METHODS & set(words) or ("(" in words and "operator" not in words):
        return None
    # An operator's name may be several tokens long.
    name_length = len(words) - words.index("operator") if "operator" in words else 1
    returns = tuple(words[: len(words) - name_length])
    if "operator" not in words and not (returns and tokens[opener - 1].kind == "identifier"):
        return None  # a constructor, or no function at all
    at = pairs[opener] + 1
    if "operator" in words and words[-1] == "operator" and at < len(tokens):
        at = pairs.get(at, at) + 1  # operator()(...)
    qualifiers: list[str] = []
    while at < len(tokens) and (
        tokens[at].text in _SPACE_WORDS or tokens[at].text in ("const", "volatile", "noexcept")
    ):
        qualifiers.append(tokens[at].text)
        at += 1
    if at >= len(tokens) or tokens[at].text not in ("{", ";"):
        return None
    body_end = pairs[at] + 1 if tokens[at].text == "{" and at in pairs else None
    return _Method(
        first=first,
        qualifiers_end=at,
        body_end=body_end,
        scope=scope,
        is_const="const" in qualifiers,
        is_qualified=bool(_SPACE_WORDS & set(qualifiers)),
        is_constant=bool(_CONSTANT_WORDS & set(qualifiers)),
        returns=returns,
    )


def _words(source: Source, first: int, last: int) -> list[str]:
    """The words of `tokens[first:last]` without `__attribute__((...))`."""
    words: list[str] = []
    at = first
    while at < last:
        text = source.tokens[at].text
        if text in ("__attribute__", "alignas") and at + 1 in source.pairs:
            at = source.pairs[at + 1]
        else:
            words.append(text)
        at += 1
    return words
