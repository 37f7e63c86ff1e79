"""JSON as language models write it: comments, trailing commas, Python's True and None."""

from __future__ import annotations

import json
import re
from typing import Any

# A string, a comment, a comma before a closing bracket, a Python literal, or one bracket.
_PIECE = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<comment>//[^\n]*|/\*.*?\*/|\#[^\n]*)"""
    r"""|(?P<comma>,(?=(?:\s|//[^\n]*|/\*.*?\*/|\#[^\n]*)*[}\]]))"""
    r"""|(?P<literal>\b(?:True|False|None)\b)"""
    r"""|(?P<bracket>[{}\[\]])""",
    re.DOTALL,
)
MAX_DEPTH = 50
_LITERALS = {"True": "true", "False": "false", "None": "null"}


def loads_leniently(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value whose opening bracket is `text[start]`, and where it ends.

    (None, start) where the brackets do not balance or what they hold is not JSON even so.
    """
    cleaned: list[str] = []
    depth, position = 0, start
    for match in _PIECE.finditer(text, start):
        cleaned.append(text[position : match.start()])
        cleaned.append(_replacement(match))
        position = match.end()
        if match["bracket"]:
            depth += 1 if match["bracket"] in "{[" else -1
            if depth == 0:
                return _loads("".join(cleaned)), position
            if depth > MAX_DEPTH:
                break
    return None, start


def _replacement(match: re.Match[str]) -> str:
    if match["comment"] or match["comma"]:
        return ""
    return _LITERALS.get(match[0], match[0])


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
