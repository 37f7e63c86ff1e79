"""Metal source to AIR, one module per kernel, with the clang of the ziglang wheel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metalgen.air import Function
from metalgen.cache import cache_directory
from metalgen.compiler.complaints import Complaints
from metalgen.compiler.diagnostics import Listing, failure, names_unsupported, warning_texts
from metalgen.compiler.emit import emit_functions
from metalgen.compiler.foreign import drop_coherence, rename_address_spaces
from metalgen.compiler.headers import HeaderArguments, header_arguments, text_arguments
from metalgen.compiler.includes import check_directives, check_files
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.pragmas import Strictness, strictness
from metalgen.compiler.preprocess import Preprocessed, read_preprocessed
from metalgen.compiler.repairs import REPAIRS, find_repair
from metalgen.compiler.rewrite import Translation, rewrite
from metalgen.compiler.toolchain import LONG_TIME_LIMIT, ClangResult, run_clang
from metalgen.compiler.typedefs import name_classes, place_classes_nowhere
from metalgen.errors import CompileError, ToolchainError

# Of the user's own lines; not of what cannot be helped there, or is made so by the rewriting.
_WARNINGS = [
    "-Wall",
    "-Wno-pass-failed",
    "-Wno-pragma-clang-attribute",
    "-Wno-psabi",
    "-Wno-static-float-init",
    "-Wno-undefined-internal",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
]
_LANGUAGE = [
    "-triple",
    "spir64",
    "-x",
    "clcpp",
    "-cl-std=CLC++2021",
    "-cl-ext=+cl_khr_fp16,+__cl_clang_function_pointers,+__cl_clang_bitfields,"
    "-__opencl_c_program_scope_global_variables,-__opencl_c_device_enqueue",
    "-cl-single-precision-constant",
    "-nostdsysteminc",
    "-nobuiltininc",
    "-ferror-limit",
    "0",
    "-fno-caret-diagnostics",
    "-fno-elide-type",
    "-ftemplate-backtrace-limit=0",
    *_WARNINGS,
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
_REPAIR_ROUNDS = 16
# Metal's fast mode but for one thing: infinities and NaNs stay what they are. Kernels start their
# maxima at -INFINITY in either mode, which LLVM's ninf would make undefined.
_FAST_MATH = [
    "-mreassociate",
    "-fno-signed-zeros",
    "-freciprocal-math",
    "-fapprox-func",
]


@dataclass(frozen=True, slots=True)
class _Job:
    """One compilation: what is compiled, with which headers."""

    listing: Listing
    options: CompileOptions
    headers: HeaderArguments
    preprocessing: tuple[str, ...]  # include directories and macros


class _HeadersFailedError(Exception):
    """What was compiled ahead cannot be used after all."""


def compile_to_air(
    source: str,
    *,
    name: str = "<source>",
    include_dirs: Sequence[Path | str] = (),
    defines: Mapping[str, str] | None = None,
    options: CompileOptions = CompileOptions(),  # noqa: B008 (frozen)
    on_warning: Callable[[str], None] = lambda _: None,
) -> list[Function]:
    """The kernels of a Metal source as AIR, in the order of the source.

    Raises CompileError with every diagnostic, in Metal's words and at the source's own lines;
    `on_warning` is given what is only warned of, each with its notes.
    """
    if options.untrusted:
        check_directives(source, name)
    directories = tuple(str(Path(directory).resolve()) for directory in include_dirs)
    arguments = [part for directory in directories for part in ("-I", directory)]
    arguments += [f"-D{key}={value}" for key, value in (defines or {}).items()]
    for headers in (header_arguments(_language(options), cache_directory()), text_arguments()):
        own = tuple(f"{directory}/" for directory in headers.directories)
        listing = Listing(name, source, directories, own)
        try:
            functions, warned = _functions(_Job(listing, options, headers, tuple(arguments)))
        except _HeadersFailedError:
            continue
        for text in warned:
            on_warning(text)
        return functions
    raise ToolchainError("clang cannot read metalgen's own headers: reinstall metalgen")


def _functions(job: _Job) -> tuple[list[Function], list[str]]:
    """The kernels, and the warnings about the source."""
    listing, options = job.listing, job.options
    output = _preprocess(job)
    preprocessed = read_preprocessed(output.output, listing.name, listing.own)
    if options.untrusted:
        check_files(preprocessed, listing.name, (*listing.directories, *listing.own))
    preprocessed = drop_coherence(rename_address_spaces(preprocessed))
    preprocessed, translation, result = _compile(
        job, name_classes(place_classes_nowhere(preprocessed))
    )
    complaints = Complaints()
    functions = emit_functions(result.output, translation, options, complaints)
    if complaints.found:
        raise failure(listing, preprocessed, translation, complaints.found, "")
    if not functions:
        raise CompileError(
            f"{listing.name}: error: no kernel: expected at least one 'kernel void' function"
        )
    warned = warning_texts(listing, None, None, output.errors)
    return functions, warned + warning_texts(listing, preprocessed, translation, result.errors)


def _preprocess(job: _Job) -> ClangResult:
    """What the preprocessor writes; raises CompileError."""
    listing = job.listing
    language = _language(job.options)
    arguments = [*language, *job.headers.preprocessing, *job.preprocessing, "-E", "-o", "-"]
    escaped = listing.name.replace("\\", "\\\\").replace('"', '\\"')
    result = run_clang(arguments, f'#line 1 "{escaped}"\n{listing.source}', listing.name)
    if result.returncode and job.headers.failed(result.errors):
        raise _HeadersFailedError
    if result.returncode:
        raise failure(listing, None, None, [], result.errors)
    return result


def _language(options: CompileOptions, strict: Strictness | None = None) -> list[str]:
    """The mode that the headers are compiled in too, as strict as a section of the source."""
    is_safe = options.math == "safe" or (strict is not None and strict.is_safe)
    is_uncontracted = strict is not None and strict.is_uncontracted
    contract = "off" if is_uncontracted else "on" if is_safe else "fast"
    math = [*([] if is_safe else _FAST_MATH), f"-ffp-contract={contract}"]
    macros = ["-D__FAST_MATH__=1"] if options.math == "fast" else []
    macros.append(f"-D__METAL_MAYBE_FAST_MATH__={int(options.has_fast_functions)}")
    return [*_LANGUAGE, *math, *macros]


def _compile(
    job: _Job, preprocessed: Preprocessed
) -> tuple[Preprocessed, Translation, ClangResult]:
    """LLVM assembly; raises CompileError for what clang or the rewriting found wrong."""
    translation, result = _attempt(job, preprocessed)
    waiting = list(REPAIRS)
    for _ in range(_REPAIR_ROUNDS):
        if not result.returncode or names_unsupported(result.errors, translation.complaints):
            break
        needed = find_repair(waiting, result.errors, translation.rewritten)
        if needed is None:
            break
        repair, offsets = needed
        edits = repair.edit(preprocessed.text, offsets)
        if not repair.is_local or not edits.changes:
            waiting.remove(repair)
        if edits.changes:
            preprocessed = preprocessed.changed_by(edits)
            translation, result = _attempt(job, preprocessed)
    if result.returncode or translation.complaints:
        complaints = translation.complaints
        raise failure(job.listing, preprocessed, translation, complaints, result.errors)
    return preprocessed, translation, result


def _attempt(job: _Job, preprocessed: Preprocessed) -> tuple[Translation, ClangResult]:
    translation = rewrite(preprocessed, job.options)
    language = _language(job.options, strictness(preprocessed.text))
    headers = job.headers.compiling
    if language != _language(job.options) and "-include-pch" in headers:
        headers = header_arguments(language, cache_directory()).compiling
    arguments = [*language, *headers, *_GENERATION]
    limit = None if job.options.untrusted else LONG_TIME_LIMIT
    result = run_clang(arguments, translation.rewritten.text, job.listing.name, limit)
    if result.returncode and job.headers.failed(result.errors):
        raise _HeadersFailedError
    return translation, result
