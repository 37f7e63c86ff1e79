"""Code for a page: highlighted, compared line by line, and found in what models wrote.

Everything here returns markup that is safe to show: whatever text is given, it is escaped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import CppLexer, PythonLexer
from pygments.token import Keyword, Name

# A model's reply is shown whole up to here; what is longer is nobody's reading.
LONGEST = 200_000
_CONTEXT = 3  # lines around each difference

_BLOCK = re.compile(
    r"^```[ \t]*(?:metal|msl|cpp|c\+\+)[^\n]*\n(.*?)(?:^```|\Z)", re.M | re.S | re.I
)
_PLAN = re.compile(r"^```[ \t]*json[^\n]*\n(.*?)(?:^```|\Z)", re.M | re.S | re.I)

_QUALIFIERS = frozenset("kernel device constant threadgroup thread vertex fragment metal".split())
_TYPES = re.compile(
    r"^(?:half|bfloat|uint|ushort|uchar|ulong|(?:bool|char|short|int|long|uchar|ushort|uint|ulong"
    r"|half|float|bfloat)[234]|(?:half|float)[234]x[234]|simdgroup_\w+|atomic_\w+|size_t)$"
)


class MetalLexer(CppLexer):  # type: ignore[misc]  # Pygments has no types
    """C++ with Metal's address spaces and types as keywords."""

    def get_tokens_unprocessed(
        self, text: str, *stack: Any, **how: Any
    ) -> Iterator[tuple[int, Any, str]]:
        """C++'s tokens, names that mean something in Metal renamed."""
        for index, token, value in super().get_tokens_unprocessed(text, *stack, **how):
            if token in Name and value in _QUALIFIERS:
                yield index, Keyword, value
            elif token in Name and _TYPES.match(value):
                yield index, Keyword.Type, value
            else:
                yield index, token, value


_LEXERS = {"metal": MetalLexer, "python": PythonLexer}


def highlighted(text: str, language: str) -> Markup:
    """The text with a class for every token: `metal` or `python`."""
    formatter = HtmlFormatter(nowrap=True, classprefix="t-")
    lexer = _LEXERS[language](stripnl=False)
    return Markup(highlight(shortened(text), lexer, formatter))  # Pygments escapes


def shortened(text: str) -> str:
    """The text, or as much of it as is shown."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n... {len(text) - LONGEST} more characters"


def kernel_in(reply: str) -> str | None:
    """The Metal source in a reply: its last fenced block of that kind."""
    found = _BLOCK.findall(reply)
    return found[-1] if found else None


def plan_in(reply: str) -> str | None:
    """The launch plan in a reply: its last fenced block of JSON."""
    found = _PLAN.findall(reply)
    return found[-1] if found else None


def difference(before: str, after: str) -> Markup | None:
    """The lines that changed, with a few around them; None where none did."""
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=_CONTEXT)
    )
    if not lines:
        return None
    kinds = {"+": "added", "-": "removed", "@": "place"}
    return Markup("").join(
        Markup('<span class="d-{}">{}</span>\n').format(kinds.get(line[0], "same"), escape(line))
        for line in lines[2:]
    )
