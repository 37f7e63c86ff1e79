"""What a project of the corpus is: its packages and its translation units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from metalgen.compiler import CompileOptions

Kind = Literal["pypi", "pypi-macos", "pypi-source", "debian-source", "npm"]


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a registry at one version; unpacked below the project's folder as `name`."""

    kind: Kind
    name: str
    version: str
    suite: str = "bookworm"  # of Debian's source packages alone


@dataclass(frozen=True, slots=True)
class Source:
    """One translation unit with what the project's host passes along."""

    name: str
    text: str
    include_dirs: tuple[Path, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    options: CompileOptions = field(default_factory=CompileOptions)


@dataclass(frozen=True, slots=True)
class Project:
    """`sources` yields the translation units, given the folder with the unpacked packages.

    `refused` maps the name of each source that Apple's compiler refuses, too, to the reason.
    """

    name: str
    packages: tuple[Package, ...]
    sources: Callable[[Path], Iterator[Source]]
    refused: Mapping[str, str] = field(default_factory=dict)
