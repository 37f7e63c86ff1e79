"""What a source that is not trusted may read: only files of the include directories."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from metalgen.compiler.preprocess import Preprocessed
from metalgen.errors import CompileError

_SPLICE = re.compile(r"\\[ \t]*\r?\n")
_COMMENT_OR_STRING = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL
)
_DIRECTIVE = re.compile(r"^[ \t]*(?:#|%:|\?\?=)[ \t]*(\w+)[ \t]*(.*)$", re.MULTILINE)
_PROBE = re.compile(r"\b(__has_include|__has_include_next|__has_embed)\b")
_TARGET = re.compile(r"^[<\"]([^>\"]*)[>\"]\s*$")


def check_directives(source: str, name: str) -> None:
    """Raise CompileError for directives that could read a file from elsewhere."""
    problems = [f"{name}:{line}:1: error: {message}" for line, message in _problems(source)]
    if problems:
        raise CompileError("\n".join(problems))


def _problems(source: str) -> Iterator[tuple[int, str]]:
    text = _SPLICE.sub(lambda found: " " * (len(found[0]) - 1) + "\x00", source)
    text = _COMMENT_OR_STRING.sub(_blank, text)
    for found in _DIRECTIVE.finditer(text):
        message = _refusal(found[1], found[2].replace("\x00", " ").strip())
        if message:
            yield (
                text.count("\n", 0, found.start()) + text.count("\x00", 0, found.start()) + 1,
                message,
            )
    for found in _PROBE.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, f"'{found[1]}' is not allowed in this source"


def _blank(found: re.Match[str]) -> str:
    """Comments become spaces; strings stay, since includes are written with them."""
    text = found[0]
    return re.sub(r"[^\n\x00]", " ", text) if text.startswith("/") else text


def _refusal(directive: str, rest: str) -> str | None:
    if directive in ("embed", "include_next", "import"):
        return f"'#{directive}' is not allowed in this source"
    if directive == "pragma" and re.search(r"\b(dependency|module|include_alias)\b", rest):
        return f"'#pragma {rest}' is not allowed in this source"
    if directive != "include":
        return None
    target = _TARGET.match(rest)
    if target is None:
        return "expected '#include <file>' or '#include \"file\"'"
    parts = Path(target[1]).parts
    if Path(target[1]).is_absolute() or ".." in parts:
        return f"'#include {rest}' reaches outside of the include directories"
    return None


def check_files(preprocessed: Preprocessed, name: str, directories: Sequence[str | Path]) -> None:
    """Raise CompileError if the preprocessor opened a file outside of the directories."""
    allowed = [Path(directory).resolve() for directory in directories]
    for file in preprocessed.files:
        resolved = Path(file).resolve()
        if file != name and not any(resolved.is_relative_to(directory) for directory in allowed):
            raise CompileError(f"{name}:1:1: error: '{file}' is outside of the include directories")
