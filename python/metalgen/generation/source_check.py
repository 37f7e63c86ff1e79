"""What a candidate's source may not contain: reading files and code that is not Metal.

A diagnostic quotes the line it complains about, so an `#include` of some file would carry its
contents into the feedback that a model service is sent.
"""

from __future__ import annotations

import re

from metalgen.errors import CompileError

MAX_SOURCE_BYTES = 1 << 20

_COMMENT_OR_STRING = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|//[^\n]*|/\*.*?\*/""", re.DOTALL
)
_DIRECTIVE = re.compile(
    r"^[ \t]*(?:#|%:)[ \t]*(?P<name>include|include_next|import|embed)\b[ \t]*(?P<operand>[^\n]*)",
    re.MULTILINE,
)
_METAL_HEADER = re.compile(
    r"<(?:metal[a-z_0-9]*|simd/[a-z_0-9]+\.h|MetalPerformancePrimitives/\w+\.h|metal/[a-z_0-9]+)>"
)
_ASSEMBLY = re.compile(r"\b(?:asm|__asm|__asm__)\b")
_PROBE = re.compile(r"\b__has_(?:include|include_next|embed)\b")


def check_source(source: str) -> None:
    """Raise CompileError where the source reaches beyond Metal and its own headers."""
    if len(source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        raise CompileError(f"the source is larger than {MAX_SOURCE_BYTES} bytes")
    code = _without_comments(source.replace("\\\r\n", "").replace("\\\n", ""))
    for match in _DIRECTIVE.finditer(code):
        operand = match["operand"].strip()
        if match["name"] != "include" or not _METAL_HEADER.fullmatch(operand):
            raise CompileError(
                f"#{match['name']} {operand}: a candidate may only include Metal's own headers,"
                f" such as <metal_stdlib>"
            )
    if found := _PROBE.search(code) or _ASSEMBLY.search(code):
        raise CompileError(f"'{found[0]}' is not allowed in a candidate; write plain Metal")


def _without_comments(source: str) -> str:
    return _COMMENT_OR_STRING.sub(lambda match: match["string"] or " ", source)
