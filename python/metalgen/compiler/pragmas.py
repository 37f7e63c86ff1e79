"""Pragmas: what clang is told in the place of Metal's own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metalgen.compiler.complaints import Complaints
from metalgen.compiler.edits import Edits
from metalgen.compiler.scopes import Source

# Groups: what a loop is told, and the argument.
_LOOP = re.compile(r"^\s*#\s*pragma\s+(unroll|nounroll|clang\s+loop\s+\w+)\b(.*)$")
_LITERAL_ARGUMENT = re.compile(r"^[\s(]*(?:\d+|enable|full|disable)?[\s)]*$")
_MATHS = re.compile(r"^\s*#\s*pragma\s+METAL\s+fp\b\s*(.*?)\s*$")
_ANY_MATHS = re.compile(r"^\s*#\s*pragma\s+METAL\s+fp\b(.*)$", re.MULTILINE)
_SETTING = re.compile(r"(\w+)\s*\(\s*(\w+)\s*\)")
_KEPT = (["clang"], ["pack"], ["STDC"], ["GCC"])
# Neither infinities nor NaNs may be taken for what does not occur: see _FAST_MATH in clang.py.
_RELAXED = ("clang fp reassociate(on) reciprocal(on) contract(fast)",)
_SETTINGS = {
    "math_mode": {
        "fast": _RELAXED,
        "relaxed": _RELAXED,
        "safe": ("clang fp reassociate(off) reciprocal(off) contract(on)",),
    },
    "contract": {value: (f"clang fp contract({value})",) for value in ("off", "on", "fast")},
}


@dataclass(frozen=True, slots=True)
class Strictness:
    """What some section of a source asks for, and the operators in our headers must then keep to.

    Those are compiled ahead, for vectors and matrices: a pragma of the source's cannot reach them.
    """

    is_safe: bool
    is_uncontracted: bool

    def opening(self, math: str) -> str:
        """What gives the source itself, up to its own pragmas, the maths mode it is compiled in."""
        if not self.is_safe and not self.is_uncontracted:
            return ""
        pragma = _RELAXED[0] if math != "safe" else "clang fp contract(on)"
        return f'_Pragma("{pragma}") '


def strictness(text: str) -> Strictness:
    """The strictest that any section of a preprocessed source asks for."""
    asked = [pair for line in _ANY_MATHS.findall(text) for pair in _SETTING.findall(line)]
    return Strictness(("math_mode", "safe") in asked, ("contract", "off") in asked)


def rewrite_pragma(source: Source, at: int, edits: Edits, complaints: Complaints) -> None:
    """Say the pragma that is token `at` as clang wants it, or take it out."""
    token = source.tokens[at]
    words = token.text.replace("#", " ").replace("(", " ( ").split()
    if words[:1] != ["pragma"]:
        return
    loop = _LOOP.match(token.text)
    maths = _MATHS.match(token.text)
    if maths is not None:
        edits.replace(token.start, token.end, _maths(source, at, maths[1], complaints))
    elif loop is not None and not _LITERAL_ARGUMENT.match(loop[2]):
        # Macros are not expanded in pragmas: the optimiser is to choose the number.
        edits.replace(token.start, token.end, "#pragma unroll" if loop[1] == "unroll" else " ")
    elif loop is None and words[1:2] not in _KEPT:
        edits.remove(token.start, token.end)


def _maths(source: Source, at: int, settings: str, complaints: Complaints) -> str:
    """The pragmas of clang for `math_mode(safe) contract(off)`."""
    start = source.tokens[at].start
    found = _SETTING.findall(settings)
    if not found or _SETTING.sub("", settings).strip():
        complaints.add(start, f"expected {_known()} in '#pragma METAL fp', found '{settings}'")
        return " "
    if not _may_stand(source, at):
        complaints.add(
            start,
            "'#pragma METAL fp' can only appear at file or namespace scope or at the start of a "
            "compound statement",
        )
        return " "
    pragmas: list[str] = []
    for name, value in found:
        told = _SETTINGS.get(name, {}).get(value)
        if told is None:
            wrong = f"{name}({value})"
            complaints.add(start, f"expected {_known()} in '#pragma METAL fp', found '{wrong}'")
            return " "
        pragmas += told
    return " ".join(f'_Pragma("{pragma}")' for pragma in pragmas)


def _known() -> str:
    return " or ".join(f"'{name}({'|'.join(values)})'" for name, values in _SETTINGS.items())


def _may_stand(source: Source, at: int) -> bool:
    """Whether nothing but pragmas stands between token `at` and the `{` around it."""
    scope = source.scopes[at]
    if scope is None or scope.kind == "namespace":
        return True
    while at > 0 and source.tokens[at - 1].kind == "pragma":
        at -= 1
    return at > 0 and source.tokens[at - 1].text == "{"
