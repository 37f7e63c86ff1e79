"""What C++ has and Metal has not (specification, 1.5.4), where clang does not refuse it by itself.

Real code decides where the text is unclear: Apple's compiler accepts derived classes, unions and
functions that promise `noexcept`; only the operator of that name is refused.
"""

from __future__ import annotations

from metalgen.compiler.complaints import Complaints
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.scopes import Source
from metalgen.compiler.tokens import Token

_WORDS = {
    "double": "'double' is not supported in Metal",
    "goto": "'goto' is not supported in Metal",
    "virtual": "'virtual' is not supported in Metal",
    "wchar_t": "'wchar_t' is not supported in Metal",
}
_ASSEMBLY = ("asm", "__asm", "__asm__")
_ACCESS = ("public", "private", "protected")
_STATEMENT_FRONT = (";", "{", "}")
# What an expression can start behind, though it is spelled like a name.
_BEFORE_EXPRESSIONS = ("return", "case", "else", "do", "co_return", "co_yield", "co_await")
LAMBDAS_FROM = (4, 0)


def check_restrictions(source: Source, options: CompileOptions, complaints: Complaints) -> None:
    """Complain about what Metal does not take over from C++."""
    has_lambdas = options.language_version >= LAMBDAS_FROM
    for at, token in enumerate(source.tokens):
        if token.text == "[" and not has_lambdas and _is_lambda(source, at):
            complaints.add(
                token.start,
                "lambda expressions are not supported in Metal before Metal 4: "
                "write a function, or compile with -std=metal4.0",
            )
        elif token.kind == "identifier":
            message = _WORDS.get(token.text) or _refusal(source, at, options)
            if message is not None:
                complaints.add(token.start, message)


def _refusal(source: Source, at: int, options: CompileOptions) -> str | None:
    """Why the name at token `at` is refused where it stands, if it is."""
    word, before, after = source.tokens[at].text, _text(source, at - 1), _text(source, at + 1)
    if word == "long" and before == "long":
        return "'long long' is not supported in Metal"
    if word in _ASSEMBLY and options.untrusted:
        return "inline assembly is not allowed in this source"
    if word in _ASSEMBLY and before in _STATEMENT_FRONT and _is_in_function(source, at):
        return "illegal asm statement"
    if word == "noexcept" and after == "(" and _starts_expression(source, at):
        return "'noexcept' is not supported in Metal"
    if word in ("concept", "requires") and _constrains_template(source, at):
        return f"'{word}' is not supported in Metal: Metal 4 is based on C++17, which has none"
    if word == "private" and after not in (":", "") and not _names_base(source, at):
        return "'private' is not an address space of Metal: expected 'thread'"
    if after == ":" and before in _STATEMENT_FRONT and _is_label(source, at):
        return "labeled statements are not supported in Metal"
    return None


def _text(source: Source, at: int) -> str:
    return source.tokens[at].text if 0 <= at < len(source.tokens) else ""


def _is_in_function(source: Source, at: int) -> bool:
    scope = source.scopes[at]
    while scope is not None and scope.kind == "other":
        scope = scope.parent
    return scope is not None and scope.kind == "function"


def _is_label(source: Source, at: int) -> bool:
    word = source.tokens[at].text
    return word not in (*_ACCESS, "default") and _is_in_function(source, at)


def _constrains_template(source: Source, at: int) -> bool:
    """Whether token `at` is C++20's keyword: elsewhere its name is like any other."""
    return _text(source, source.statement_start(at)) == "template" and (
        _text(source, at - 1) in (">", ")", "=", "const", "&&", "||")
        and (_text(source, at + 1) in ("(", "{") or source.tokens[at + 1].kind == "identifier")
    )


def _names_base(source: Source, at: int) -> bool:
    """Whether `private` at token `at` says how a class derives from another."""
    return _text(source, at - 1) in (":", ",", "virtual") and _text(source, at + 1) != "*"


def _starts_expression(source: Source, at: int) -> bool:
    """Whether an operand can stand at token `at`: nothing in front of it could be one."""
    if at == 0:
        return False
    before: Token = source.tokens[at - 1]
    if before.kind == "identifier":
        return before.text in _BEFORE_EXPRESSIONS
    return before.kind == "mark" and before.text not in (")", "]", "}", ">", "...")


def _is_lambda(source: Source, at: int) -> bool:
    """Whether `[` at token `at` opens what a lambda captures."""
    closer = source.pairs.get(at)
    after_statement = at > 0 and source.tokens[at - 1].text in ("}", ";", "{")
    if closer is None or _text(source, closer + 1) not in ("(", "{", "<", "mutable", "->"):
        return False
    if _text(source, at + 1) == "[" or _text(source, at - 1) == "[":
        return False  # an attribute
    behind_auto = _text(source, at - 1) == "&" and _text(source, at - 2) in ("auto", "const")
    return after_statement or (_starts_expression(source, at) and not behind_auto)
