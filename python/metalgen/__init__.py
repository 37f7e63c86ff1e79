"""Metal kernels for PyTorch, written by language models or by metalgen, and proven right."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metalgen import device, ops
    from metalgen.compiler import CompileOptions
    from metalgen.generation import generate
    from metalgen.library import Library, load_metallib
    from metalgen.optimize import explain, optimize_for_metal

__all__ = [
    "Library",
    "compile_shader",
    "device",
    "explain",
    "generate",
    "load_metallib",
    "ops",
    "optimize_for_metal",
]

# Where the public names live; importing metalgen alone imports neither torch nor a compiler.
_MODULES = {
    "device": None,
    "ops": None,
    "Library": "library",
    "explain": "optimize",
    "generate": "generation",
    "load_metallib": "library",
    "optimize_for_metal": "optimize",
}


def compile_shader(
    source: str,
    *,
    name: str = "<source>",
    include_dirs: Sequence[str | os.PathLike[str]] = (),
    defines: Mapping[str, str] | None = None,
    options: CompileOptions | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Library:
    """Compile Metal source and load it: `compile_shader(source).kernel_name(*args, threads=...)`.

    `name` stands for the source in messages, `defines` maps macros to their text. Raises
    CompileError with every diagnostic; `on_warning` is given what the compiler only warns of.
    """
    from metalgen.compiler import CompileOptions, compile_source
    from metalgen.library import load_metallib

    metallib = compile_source(
        source,
        name=name,
        include_dirs=include_dirs,
        defines=defines,
        options=options or CompileOptions(),
        on_warning=on_warning,
    )
    return load_metallib(metallib)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'metalgen' has no attribute {name!r}")
    module = importlib.import_module(f"metalgen.{_MODULES[name] or name}")
    return getattr(module, name) if _MODULES[name] else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
