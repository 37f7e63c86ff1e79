"""What each brace of a Metal source encloses: a namespace, a class, a function, or else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metalgen.compiler.tokens import Token, match_angle, match_brackets

_LOOK_AHEAD = 3
ScopeKind = Literal["namespace", "class", "function", "other"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One pair of braces; `head` is the first token of what introduces it."""

    kind: ScopeKind
    name: str
    head: int
    opener: int
    parent: Scope | None

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces around, outermost first."""
        outer = self.parent.namespaces() if self.parent else ()
        return (*outer, self.name) if self.kind == "namespace" and self.name else outer

    def in_template(self, tokens: Sequence[Token]) -> bool:
        """Whether this or anything around is a template."""
        here = self.kind in ("function", "class") and tokens[self.head].text == "template"
        return here or (self.parent is not None and self.parent.in_template(tokens))


@dataclass(frozen=True, slots=True)
class Source:
    """Tokens with their structure: matching brackets, and the scope around each token."""

    text: str
    tokens: list[Token]
    pairs: dict[int, int]  # closing brackets by opening ones
    openers: dict[int, int]  # and the other way round
    scopes: list[Scope | None]  # one per token

    def statement_start(self, at: int) -> int:
        """The first token of the declaration or statement that token `at` is in."""
        while at > 0 and self.tokens[at - 1].text not in (";", "{", "}"):
            if self.tokens[at - 1].kind == "pragma" or self._is_access_colon(at - 1):
                break
            at -= 1
        return at

    def _is_access_colon(self, at: int) -> bool:
        return self.tokens[at].text == ":" and self.tokens[at - 1].text in (
            "public",
            "private",
            "protected",
        )

    def all_scopes(self) -> list[Scope]:
        """Every pair of braces, in order."""
        return list({id(scope): scope for scope in self.scopes if scope is not None}.values())

    def class_name(self, scope: Scope) -> str | None:
        """The name of the class that `scope` is the body of, if it has one."""
        at = self.class_key(scope) + 1
        while scope.kind == "class" and at < scope.opener:
            if self.tokens[at].text in ("alignas", "__attribute__") and at + 1 in self.pairs:
                at = self.pairs[at + 1]
            elif at in self.pairs:
                at = self.pairs[at]
            elif self.tokens[at].kind == "identifier":
                return self.tokens[at].text
            at += 1
        return None

    def is_private(self, scope: Scope) -> bool:
        """Whether members are private unless they say otherwise."""
        return self.tokens[self.class_key(scope)].text == "class"

    def class_key(self, scope: Scope) -> int:
        """The token `struct`, `class` or `union` of a class; its `{` if it is none."""
        for at in range(self.template_end(scope.head), scope.opener):
            if self.tokens[at].text in ("struct", "class", "union"):
                return at
        return scope.opener

    def template_end(self, first: int) -> int:
        """Behind `template <...>`, if the declaration at token `first` starts with it."""
        at = first
        while self.tokens[at].text == "template" and self.tokens[at + 1].text == "<":
            close = match_angle(self.tokens, at + 1, self.pairs)
            if close is None:
                break
            at = close + 1
        return at

    def slice(self, first: int, last: int) -> str:
        """The text of `tokens[first:last]`, of what there is of it."""
        first, last = max(0, first), min(last, len(self.tokens))
        if first >= last:
            return ""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end]

    def one_line(self, first: int, last: int) -> str:
        """Tokens without line breaks, which pragmas would otherwise need."""
        parts: list[str] = []
        end = 0
        for token in self.tokens[first:last]:
            # Tokens that touch may be halves of one, as in `<<`.
            parts.append(" " if token.start > end else "")
            if token.kind == "pragma":
                words = token.text.strip().lstrip("#").strip().removeprefix("pragma").strip()
                escaped = words.replace("\\", "\\\\").replace('"', '\\"')
                parts.append(f'_Pragma("{escaped}") ')
            else:
                parts.append(token.text)
            end = token.end
        return "".join(parts)


def read_source(text: str, tokens: list[Token]) -> Source:
    """Find the structure of `tokens`, which were cut from `text`.

    Empty tokens are added behind them: what looks one or two ahead needs not look for the end.
    """
    tokens = [*tokens, *[Token("other", "", len(text))] * _LOOK_AHEAD]
    pairs = match_brackets(tokens)
    openers = {close: opener for opener, close in pairs.items()}
    source = Source(text, tokens, pairs, openers, [None] * len(tokens))
    scope: Scope | None = None
    for at, token in enumerate(tokens):
        if token.text == "}" and at in openers and scope is not None:
            scope = scope.parent
        source.scopes[at] = scope
        if token.text == "{" and at in pairs:
            scope = _scope(source, at, scope)
    return source


def _scope(source: Source, opener: int, parent: Scope | None) -> Scope:
    head = source.statement_start(opener)
    kind, name = _kind(source, head, opener, parent)
    return Scope(kind, name, head, opener, parent)


def _kind(source: Source, head: int, opener: int, parent: Scope | None) -> tuple[ScopeKind, str]:
    words = _outer_words(source, head, opener)
    if "namespace" in words:
        named = [word for word in words if word not in ("namespace", "inline")]
        return "namespace", "::".join(word for word in named if word != "::")
    if words[:1] == ["extern"] and len(words) == 2:
        return "namespace", ""
    if "enum" in words:
        return "other", ""
    if {"class", "struct", "union"} & set(words) and "(" not in words:
        return "class", ""
    outer = parent.kind if parent else "namespace"
    if outer in ("namespace", "class"):
        return ("function" if "(" in words else "other"), ""
    return outer, ""


def _outer_words(source: Source, head: int, opener: int) -> list[str]:
    """The words of `tokens[head:opener]` outside of brackets and template headers."""
    words: list[str] = []
    at = head
    while at < opener:
        text = source.tokens[at].text
        if text in ("alignas", "__attribute__", "requires") and at + 1 in source.pairs:
            at = source.pairs[at + 1]
        elif text == "template" and source.tokens[at + 1].text == "<":
            at = match_angle(source.tokens, at + 1, source.pairs) or at
        elif at in source.pairs:
            words.append(text)
            at = source.pairs[at]
        else:
            words.append(text)
        at += 1
    return words
