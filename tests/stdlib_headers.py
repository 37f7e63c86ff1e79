"""Compile Metal code with metalgen's headers alone: LLVM assembly out, or clang's complaints."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

import metalgen.compiler
from metalgen.compiler.toolchain import ClangResult, run_clang

HEADERS = Path(metalgen.compiler.__file__).parent / "include"

LANGUAGE = (
    *("-triple", "spir64", "-x", "clcpp", "-cl-std=CLC++2021", "-O2"),
    "-cl-ext=+cl_khr_fp16,+__cl_clang_function_pointers",
    *("-cl-single-precision-constant", "-fdeclspec", "-nostdsysteminc", "-nobuiltininc"),
    *("-ferror-limit", "0", "-fno-caret-diagnostics", "-fno-elide-type", "-w"),
    "-discard-value-names",
)


@functools.cache
def _precompiled(options: tuple[str, ...]) -> str:
    """The headers, read once for all tests that compile with `options`."""
    target = str(Path(tempfile.mkdtemp(prefix="metalgen-headers-")) / "headers.pch")
    source = "#include <metalgen/prefix.h>\n#include <metal_stdlib>\n"
    result = run_clang([*_language(options), "-emit-pch", "-o", target], source, "headers")
    assert result.returncode == 0, result.errors
    return target


def _language(options: tuple[str, ...]) -> list[str]:
    return [*LANGUAGE, "-internal-isystem", str(HEADERS), *options]


def compile_headers(source: str, *options: str, output: str = "-emit-llvm") -> ClangResult:
    """What clang makes of `source` behind metalgen's headers."""
    headers = ["-include-pch", _precompiled(options)]
    arguments = [*_language(options), *headers, output, "-o", "-"]
    return run_clang(arguments, f"using namespace metal;\n{source}", "test")


def assembly(source: str, *options: str) -> str:
    """LLVM assembly of `source`, which must compile."""
    result = compile_headers(source, *options)
    assert result.returncode == 0, result.errors
    return result.output


def body(source: str, *options: str, name: str = "f") -> str:
    """The body of the function `name`, which `source` declares as extern "C"."""
    text = assembly(source, *options)
    found = re.search(rf"^define [^\n]*@{name}\(.*?^}}", text, re.MULTILINE | re.DOTALL)
    assert found, text
    return found[0]


def complaints(source: str) -> str:
    """Clang's errors about `source`, which must not compile."""
    result = compile_headers(source, output="-fsyntax-only")
    assert result.returncode == 1, "clang accepted it"
    return result.errors
