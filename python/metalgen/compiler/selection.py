"""The compilers metalgen can use, behind one interface, and which of them this machine gets."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from metalgen.air import Function, Metallib, write_metallib
from metalgen.cache import tree_hash
from metalgen.compiler.compiled import Compiled
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.source import Source
from metalgen.compiler.toolchain import find_zig
from metalgen.compiler.xcrun import XcrunToolchain, has_xcrun
from metalgen.errors import CompileError, ToolchainError


class Toolchain(Protocol):
    """Compiles sources one by one, then links what came out of it into a metallib."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same source could give a different result."""

    @property
    def description(self) -> str:
        """The compiler and its version, for people."""

    def compile(self, source: Source, options: CompileOptions) -> Compiled:
        """One source to an object, in a form of the toolchain's own."""

    def link(self, objects: Sequence[bytes]) -> bytes:
        """Objects to a metallib."""


class ClangToolchain:
    """The ziglang wheel's clang and metalgen's own headers; its objects are metallibs."""

    name = "clang"

    @functools.cached_property
    def fingerprint(self) -> str:
        """The content of metalgen's compiler, and which clang executable it finds."""
        status = find_zig().stat()
        return f"{_package_hash()} {status.st_size} {status.st_mtime_ns}"

    @property
    def description(self) -> str:
        """Of the ziglang package, whose clang it is."""
        return f"metalgen's own (clang of ziglang {version('ziglang')})"

    def compile(self, source: Source, options: CompileOptions) -> Compiled:
        # Imported late: LLVM takes longer to load than a cached compilation.
        from metalgen.compiler.clang import compile_to_air

        warnings: list[str] = []
        functions = compile_to_air(
            source.text,
            name=source.name,
            include_dirs=source.include_dirs,
            defines={"__METAL_VERSION__": _version_macro(options), **source.defines},
            options=options,
            on_warning=warnings.append,
        )
        return Compiled(write_metallib(functions), tuple(warnings))

    def link(self, objects: Sequence[bytes]) -> bytes:
        if len(objects) == 1:
            return objects[0]
        libraries = [Metallib(content) for content in objects]
        functions = list(itertools.chain.from_iterable(found.functions() for found in libraries))
        _check_distinct(functions)
        return write_metallib(functions)


def _version_macro(options: CompileOptions) -> str:
    major, minor = options.language_version
    return f"{major}{minor}0"


def _check_distinct(functions: Sequence[Function]) -> None:
    names = [function.name for function in functions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CompileError(f"error: more than one source defines kernel {', '.join(repeated)}")


@functools.cache
def _package_hash() -> str:
    """The hash of metalgen's compiler and its headers."""
    package = Path(__file__).parent
    return tree_hash(package, package.parent / "air")


@functools.cache
def select_toolchain() -> Toolchain:
    """Apple's compiler where there is one, clang elsewhere; METALGEN_COMPILER names another.

    Raises ToolchainError for a name that is neither "xcrun" nor "clang".
    """
    asked = os.environ.get("METALGEN_COMPILER", "")
    if asked not in ("", "xcrun", "clang"):
        raise ToolchainError(f"METALGEN_COMPILER is {asked!r}, expected 'xcrun' or 'clang'")
    use_apples = has_xcrun() if not asked else asked == "xcrun"
    return XcrunToolchain() if use_apples else ClangToolchain()
