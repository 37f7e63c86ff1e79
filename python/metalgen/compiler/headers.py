"""metalgen's Metal headers, compiled ahead once per set of options so that sources start fast."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from metalgen.compiler.toolchain import run_clang

_HERE = Path(__file__).resolve().parent
HEADERS = _HERE / "include"
SUPPORT = _HERE / "support"
PREFIX = HEADERS / "metalgen" / "prefix.h"
_ALL = (PREFIX, HEADERS / "metal_stdlib", SUPPORT / "kernel_support.h")


def include_headers(language: Sequence[str], directory: Path | None) -> list[str]:
    """Arguments that include all headers into a compilation with the arguments `language`.

    They are taken from a precompiled file in `directory`, which is made if it is not there; where
    none can be kept, headers are read as text.
    """
    if directory is None:
        return _as_text()
    precompiled = directory / f"headers-{_digest(tuple(language))}.pch"
    if precompiled.is_file() or _precompile(language, precompiled):
        # The name says the content: clang's own check by time would refuse a fresh checkout.
        return ["-include-pch", str(precompiled), "-fno-validate-pch"]
    return _as_text()


def _as_text() -> list[str]:
    return [part for header in _ALL for part in ("-include", str(header))]


def _precompile(language: Sequence[str], target: Path) -> bool:
    """Write `target`, whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    except OSError:
        return False
    os.close(descriptor)
    try:
        source = "".join(f'#include "{header}"\n' for header in _ALL)
        result = run_clang([*language, "-emit-pch", "-o", temporary], source, "the Metal headers")
        if result.returncode:
            return False
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return True


@functools.lru_cache(maxsize=16)
def _digest(language: tuple[str, ...]) -> str:
    """A name for these headers as these arguments and this clang see them."""
    digest = hashlib.sha256(repr((language, importlib.metadata.version("ziglang"))).encode())
    for file in sorted(path for root in (HEADERS, SUPPORT) for path in root.rglob("*")):
        if file.is_file():
            digest.update(repr((str(file), file.stat().st_size)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
