"""The list of AIR functions that the Metal headers may call, for whoever defines them.

Run as a program, this file writes the list anew.
"""

from __future__ import annotations

import re
import sys

from stdlib_headers import HEADERS, LANGUAGE, assembly

from metalgen.compiler.toolchain import run_clang
from metalgen.files import write_whole

LISTED = HEADERS / "air_functions.txt"
_DECLARATION = re.compile(r"([^;{}()]+?)\s+(__air_\w+)\(([^()]*)\)\s*__asm\(([^()]*)\)")
_OURS = re.compile(
    r" (?:dso_local|spir_func|noundef|zeroext|signext|local_unnamed_addr|#\d+)(?=[ ,)]|$)"
)


def _declarations() -> list[tuple[str, str, list[str]]]:
    """Result type, C++ name and parameter types of every AIR function that the headers declare."""
    source = "#include <metalgen/prefix.h>\n#include <metal_stdlib>\n"
    arguments = [*LANGUAGE, "-internal-isystem", str(HEADERS), "-E", "-P"]
    text = run_clang(arguments, source, "headers").output
    found = [match.groups() for match in _DECLARATION.finditer(text)]
    return [(" ".join(result.split()), name, _types(types)) for result, name, types, _ in found]


def _types(parameters: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^<]*>)", parameters) if part.strip()]


def listed_functions() -> str:
    """LLVM's declarations of those functions, sorted, one a line."""
    calls = []
    for number, (result, name, types) in enumerate(_declarations()):
        parameters = ", ".join(f"{kind} a{i}" for i, kind in enumerate(types))
        passed = ", ".join(f"a{i}" for i in range(len(types)))
        calls.append(f"{result} use{number}({parameters}) {{ return {name}({passed}); }}")
    lines = re.findall(r"^declare .*$", assembly("\n".join(calls)), re.MULTILINE)
    return "".join(f"{line}\n" for line in sorted({_OURS.sub("", line) for line in lines}))


def test_the_list_of_air_functions_is_what_the_headers_declare():
    assert listed_functions() == LISTED.read_text(), f"run {sys.executable} {__file__}"


if __name__ == "__main__":
    write_whole(LISTED, listed_functions().encode())
