"""Metal source to AIR, one module per kernel, with the clang of the ziglang wheel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metalgen.air import Function
from metalgen.compiler.cache import cache_directory
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.diagnostics import Listing, failure
from metalgen.compiler.emit import emit_functions
from metalgen.compiler.headers import header_arguments
from metalgen.compiler.includes import check_directives, check_files
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.preprocess import Preprocessed, read_preprocessed
from metalgen.compiler.repairs import REPAIRS, find_repair
from metalgen.compiler.rewrite import Translation, rewrite
from metalgen.compiler.toolchain import run_clang
from metalgen.errors import CompileError

_LANGUAGE = [
    "-triple",
    "spir64",
    "-x",
    "clcpp",
    "-cl-std=CLC++2021",
    "-cl-ext=+cl_khr_fp16,+__cl_clang_function_pointers",
    "-cl-single-precision-constant",
    "-nostdsysteminc",
    "-nobuiltininc",
    "-ferror-limit",
    "0",
    "-fno-caret-diagnostics",
    "-ftemplate-backtrace-limit=0",
    "-w",
    "-O2",
    "-fno-builtin",
    "-fdeclspec",
]
_GENERATION = [
    "-emit-llvm",
    "-o",
    "-",
    "-clear-ast-before-backend",
    "-discard-value-names",
    "-mllvm",
    "-inline-threshold=100000",
]
_REPAIR_ROUNDS = 8
# Metal's fast mode but for one thing: infinities and NaNs stay what they are. Kernels start their
# maxima at -INFINITY in either mode, which LLVM's ninf would make undefined.
_FAST_MATH = [
    "-mreassociate",
    "-fno-signed-zeros",
    "-freciprocal-math",
    "-fapprox-func",
    "-ffp-contract=fast",
    "-D__FAST_MATH__=1",
]


def compile_to_air(
    source: str,
    *,
    name: str = "<source>",
    include_dirs: Sequence[Path | str] = (),
    defines: Mapping[str, str] | None = None,
    options: CompileOptions = CompileOptions(),  # noqa: B008 (frozen)
) -> list[Function]:
    """The kernels of a Metal source as AIR, in the order of the source.

    Raises CompileError with every diagnostic, in Metal's words and at the source's own lines.
    """
    directories = [str(Path(directory).resolve()) for directory in include_dirs]
    listing = Listing(name, source, tuple(directories))
    if options.untrusted:
        check_directives(source, name)
    language = _language(options)
    headers = header_arguments(language, cache_directory())
    preprocessed = read_preprocessed(
        _preprocess(source, listing, [*language, *headers.preprocessing], defines or {}),
        name,
        headers.directories,
    )
    if options.untrusted:
        check_files(preprocessed, name, (*directories, *headers.directories))
    preprocessed, translation, ir = _compile(
        preprocessed, [*language, *headers.compiling], options, listing
    )
    complaints = Complaints()
    functions = emit_functions(ir, translation, options, complaints)
    if complaints.found:
        raise failure(listing, preprocessed, translation, complaints.found, "")
    if not functions:
        raise CompileError(
            f"{name}: error: no kernel: expected at least one 'kernel void' function"
        )
    return functions


def _preprocess(
    source: str, listing: Listing, arguments: Sequence[str], defines: Mapping[str, str]
) -> str:
    """What the preprocessor writes; raises CompileError."""
    arguments = [
        *arguments,
        "-E",
        "-o",
        "-",
        *(part for directory in listing.directories for part in ("-I", directory)),
        *(f"-D{key}={value}" for key, value in defines.items()),
    ]
    escaped = listing.name.replace("\\", "\\\\").replace('"', '\\"')
    result = run_clang(arguments, f'#line 1 "{escaped}"\n{source}', listing.name)
    if result.returncode:
        raise failure(listing, None, None, [], result.errors)
    return result.output


def _language(options: CompileOptions) -> list[str]:
    math = _FAST_MATH if options.math == "fast" else ["-ffp-contract=on"]
    return [*_LANGUAGE, *math]


def _compile(
    preprocessed: Preprocessed,
    arguments: Sequence[str],
    options: CompileOptions,
    listing: Listing,
) -> tuple[Preprocessed, Translation, str]:
    """LLVM assembly; raises CompileError for what clang or the rewriting found wrong."""
    arguments = [*arguments, *_GENERATION]
    translation = rewrite(preprocessed, options.untrusted)
    result = run_clang(arguments, translation.rewritten.text, listing.name)
    waiting = list(REPAIRS)
    for _ in range(_REPAIR_ROUNDS):
        needed = find_repair(waiting, result.errors, translation.rewritten)
        if not result.returncode or needed is None:
            break
        repair, offsets = needed
        if not repair.is_local:
            waiting.remove(repair)
        preprocessed = preprocessed.changed_by(repair.edit(preprocessed.text, offsets))
        translation = rewrite(preprocessed, options.untrusted)
        result = run_clang(arguments, translation.rewritten.text, listing.name)
    if result.returncode or translation.complaints:
        raise failure(listing, preprocessed, translation, translation.complaints, result.errors)
    return preprocessed, translation, result.output
