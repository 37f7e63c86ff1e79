"""`metalgen build`: Metal sources to one metallib."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metalgen.errors import CompileError

if TYPE_CHECKING:
    from metalgen.compiler import CompileOptions

_MACRO = re.compile(r"[A-Za-z_]\w*$")
_DIAGNOSTIC = re.compile(
    r"^(?P<file>[^\n]*?):(?:(?P<line>\d+):(?P<column>\d+):)? (?P<severity>error|warning|note): "
    r"(?P<message>[^\n]*)$",
    re.MULTILINE,
)


def build(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="The .metal files to compile.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The metallib to write.")
    ],
    include_dirs: Annotated[
        list[Path] | None,
        typer.Option("-I", metavar="DIR", help="Look for headers in DIR too; repeatable."),
    ] = None,
    defines: Annotated[
        list[str] | None,
        typer.Option("-D", metavar="NAME[=VALUE]", help="Define a macro, 1 without VALUE."),
    ] = None,
    standard: Annotated[
        Literal["metal3.0", "metal3.1", "metal3.2", "metal4.0"],
        typer.Option("-std", "--std", help="The version of the Metal language."),
    ] = "metal3.2",
    math: Annotated[
        Literal["fast", "relaxed", "safe"],
        typer.Option(
            "--math",
            "-fmetal-math-mode",
            help="relaxed keeps NaN and infinities, safe the order of operations too.",
        ),
    ] = "fast",
    functions: Annotated[
        Literal["fast", "precise"] | None,
        typer.Option(
            "--math-functions",
            "-fmetal-math-fp32-functions",
            help="The forms of exp and its like; precise is what safe maths has.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on stdout.")] = False,
) -> None:
    """Compile Metal sources to one metallib.

    With `xcrun metal` on macOS, with clang and metalgen's own headers elsewhere.
    Errors are listed as clang does; nothing is written then. Warnings go to stderr.
    """
    from metalgen.compiler import CompileOptions

    options = CompileOptions(math=math, standard=standard, functions=functions)
    macros = dict(_macro(define) for define in defines or ())
    started = time.perf_counter()
    warnings: list[str] = []
    try:
        metallib = _compile(sources, include_dirs or [], macros, options, warnings)
    except CompileError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "diagnostics": _diagnostics(str(error))}))
            raise typer.Exit(1) from None
        raise CompileError(f"{error}\n{_count(str(error))}") from None
    _write(output, metallib)
    if warnings and not as_json:
        count = f"{len(warnings)} warning{'' if len(warnings) == 1 else 's'} generated."
        typer.echo("\n".join([*warnings, count]), err=True)
    _report(output, metallib, time.perf_counter() - started, warnings if as_json else None)


def _compile(
    sources: list[Path],
    include_dirs: list[Path],
    macros: dict[str, str],
    options: CompileOptions,
    warnings: list[str],
) -> bytes:
    from metalgen.compiler import compile_files

    return compile_files(
        sources,
        include_dirs=include_dirs,
        defines=macros,
        options=options,
        on_warning=warnings.append,
    )


def _macro(define: str) -> tuple[str, str]:
    name, has_value, value = define.partition("=")
    if not _MACRO.match(name):
        raise typer.BadParameter(f"-D expects NAME or NAME=VALUE, found {define!r}")
    return name, value if has_value else "1"


def _write(output: Path, metallib: bytes) -> None:
    from metalgen.files import write_whole

    write_whole(output, metallib)


def _report(output: Path, metallib: bytes, seconds: float, warnings: list[str] | None) -> None:
    """What was made, as JSON if it is given the warnings to go with it."""
    from metalgen.air import Metallib

    kernels = Metallib(metallib, origin=str(output)).names
    if warnings is not None:
        report = {
            "ok": True,
            "output": str(output),
            "bytes": len(metallib),
            "seconds": round(seconds, 4),
            "kernels": list(kernels),
            "diagnostics": _diagnostics("\n".join(warnings)),
        }
        typer.echo(json.dumps(report))
        return
    plural = "" if len(kernels) == 1 else "s"
    size = f"{len(metallib) / 1024:.1f} KiB"
    typer.echo(f"{output}: {len(kernels)} kernel{plural}, {size}, {seconds:.2f} s")


def _diagnostics(text: str) -> list[dict[str, str | int | None]]:
    """The errors, warnings and notes in what the compiler said, in its order."""
    return [
        {
            "file": found["file"],
            "line": int(found["line"]) if found["line"] else None,
            "column": int(found["column"]) if found["column"] else None,
            "severity": found["severity"],
            "message": found["message"],
        }
        for found in _DIAGNOSTIC.finditer(text)
    ]


def _count(text: str) -> str:
    errors = sum(found["severity"] == "error" for found in _DIAGNOSTIC.finditer(text)) or 1
    return f"{errors} error{'' if errors == 1 else 's'} generated."
