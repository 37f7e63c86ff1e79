"""What became of a generator's cases, and the sources that it wrote on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import metalgen
from metalgen.compiler import CompileOptions
from metalgen.errors import MetalgenError
from metalgen.library import Library

# By the type that is computed in: relative, then absolute.
TOLERANCES = {
    torch.float32: (1e-4, 1e-4),
    torch.float16: (5e-3, 5e-3),
    torch.bfloat16: (4e-2, 4e-2),
}


@dataclass(slots=True)
class Results:
    """Counts of cases; `folder` keeps the sources, by content."""

    folder: Path
    sources: set[str] = field(default_factory=set)
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    not_generated: list[str] = field(default_factory=list)

    def library(
        self, source: str, options: CompileOptions, include_dirs: Sequence[Path] = ()
    ) -> Library:
        """Keep and compile one source."""
        name = f"{hashlib.sha256(source.encode()).hexdigest()[:12]}.metal"
        self.sources.add(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(source)
        return metalgen.compile_shader(
            source, name=name, include_dirs=include_dirs, options=options
        )

    def check(
        self,
        name: str,
        compute: Callable[[], object],
        expected: object,
        tolerance: tuple[float, float] = TOLERANCES[torch.float32],
    ) -> None:
        """Compute one case with generated kernels and compare; nothing is raised."""
        rtol, atol = tolerance
        try:
            actual = compute()
        except Exception as error:  # generators raise all sorts when they cannot
            blamed = _cause(error)
            line = f"{name}: {type(blamed).__name__}: {str(blamed).splitlines()[:1]}"
            is_ours = isinstance(blamed, MetalgenError)
            (self.refused if is_ours else self.not_generated).append(line)
            return
        try:
            torch.testing.assert_close(
                actual, expected, rtol=rtol, atol=atol, equal_nan=True, check_stride=False
            )
        except AssertionError as error:
            self.wrong.append(f"{name}: {' '.join(str(error).split())[:300]}")
        else:
            self.right += 1


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
