"""Compile Metal sources to a metallib with this machine's toolchain, or take it from the cache."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from metalgen.cache import Cache, cache_directory
from metalgen.compiler.compiled import Compiled
from metalgen.compiler.options import CompileOptions
from metalgen.compiler.selection import Toolchain, select_toolchain
from metalgen.compiler.source import Source, read_set_hash
from metalgen.errors import CompileError

_DEFAULT = CompileOptions()
PathLike = str | os.PathLike[str]
OnWarning = Callable[[str], None]


def compile_source(
    source: str,
    *,
    name: str = "<source>",
    include_dirs: Sequence[PathLike] = (),
    defines: Mapping[str, str] | None = None,
    options: CompileOptions = _DEFAULT,
    on_warning: OnWarning | None = None,
) -> bytes:
    """The metallib of one Metal source; raises CompileError with every diagnostic.

    `name` stands for the source in diagnostics, `defines` maps macros to their text. `on_warning`
    is given every warning of the compiler's: `name:line:column: warning: ...`, the line, a caret.
    Results are cached on disk, with their warnings; METALGEN_CACHE_DIR says where.
    """
    directories = tuple(Path(directory) for directory in include_dirs)
    return _build([Source(source, name, directories, dict(defines or {}))], options, on_warning)


def compile_files(
    paths: Iterable[PathLike],
    *,
    include_dirs: Sequence[PathLike] = (),
    defines: Mapping[str, str] | None = None,
    options: CompileOptions = _DEFAULT,
    on_warning: OnWarning | None = None,
) -> bytes:
    """One metallib of several Metal files; raises CompileError with the diagnostics of all.

    Headers are looked for beside each file, then in `include_dirs`.
    """
    sources = [
        Source(
            text=_read(Path(path)),
            name=os.fspath(path),
            include_dirs=(Path(path).parent, *map(Path, include_dirs)),
            defines=dict(defines or {}),
        )
        for path in paths
    ]
    if not sources:
        raise CompileError("error: no sources: expected at least one .metal file")
    return _build(sources, options, on_warning)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CompileError(f"{path}: error: cannot read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CompileError(f"{path}: error: not UTF-8 at byte {error.start}") from error


def _build(
    sources: Sequence[Source], options: CompileOptions, on_warning: OnWarning | None
) -> bytes:
    toolchain = select_toolchain()
    cache = _cache(cache_directory())
    objects: list[bytes] = []
    failures: list[str] = []
    for source in sources:
        try:
            compiled = _compile(source, options, toolchain, cache)
        except CompileError as error:
            failures.append(str(error))
            continue
        objects.append(compiled.content)
        if on_warning is not None:
            for warning in compiled.warnings:
                on_warning(warning)
    if failures:
        raise CompileError("\n".join(failures))
    key = _key(toolchain, b"link", *(hashlib.sha256(content).digest() for content in objects))
    if len(objects) == 1 and toolchain.name == "clang":
        return toolchain.link(objects)
    return _cached(cache, key, lambda: toolchain.link(objects))


def _compile(
    source: Source, options: CompileOptions, toolchain: Toolchain, cache: Cache
) -> Compiled:
    read_set = read_set_hash(source)
    if read_set is None:
        return toolchain.compile(source, options)
    key = _key(toolchain, b"compile", repr(astuple(options)).encode(), read_set)
    kept = _cached(cache, key, lambda: toolchain.compile(source, options).to_bytes())
    return Compiled.from_bytes(kept)


def _key(toolchain: Toolchain, *parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in (toolchain.name.encode(), toolchain.fingerprint.encode(), *parts):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _cached(cache: Cache, key: str, make: Callable[[], bytes]) -> bytes:
    found = cache.get(key)
    if found is None:
        found = make()
        cache.put(key, found)
    return found


@functools.lru_cache(maxsize=8)
def _cache(directory: Path) -> Cache:
    # One per directory: each warns once that it cannot be written to.
    return Cache(directory)
