"""A kernel pack on disk: a folder with pack.json and a folder of files for each kernel.

Kernels of a pack run in the process of whoever uses it, without a sandbox. Only packs that were
installed or named are opened, and each file must be the one that the manifest describes.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from metalgen.compiler import compile_source
from metalgen.errors import PackError
from metalgen.packs.manifest import FILES, METALLIB, PLAN, SOURCE, Entry, Manifest
from metalgen.plan import LaunchPlan, parse_plan

MANIFEST = "pack.json"


@dataclass(frozen=True)
class PackedKernel:
    """One kernel of a pack; its files are read, and checked, when they are wanted."""

    pack: Pack
    entry: Entry

    @property
    def title(self) -> str:
        """As reports have it, such as "pack acme 1.2: linear_gelu"."""
        manifest = self.pack.manifest
        return f"pack {manifest.name} {manifest.version}: {self.entry.name}"

    def file(self, name: str) -> bytes:
        """One of its files; PackError where it is missing or another than was packed."""
        path = self.pack.path / self.entry.name / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PackError(f"'{path}' of a pack cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self.entry.sha256.get(name):  # type: ignore[call-overload]
            raise PackError(f"'{path}' is not the file that was packed; build the pack again")
        return content

    @cached_property
    def plan(self) -> LaunchPlan:
        """Its launch plan."""
        return parse_plan(self.file(PLAN))

    def metallib(self, device_type: str) -> bytes:
        """Its kernels for a device; compiled here for Apple's where Apple's compiler did not."""
        if device_type == "mps" and sys.platform == "darwin" and "xcrun" not in self.entry.compiler:
            return compile_source(self.file(SOURCE).decode(), name=f"{self.entry.name}.metal")
        return self.file(METALLIB)


@dataclass(frozen=True)
class Pack:
    """A pack whose manifest was read."""

    path: Path
    manifest: Manifest

    @cached_property
    def kernels(self) -> tuple[PackedKernel, ...]:
        """Its kernels, those that replace most operators first."""
        kernels = [PackedKernel(self, entry) for entry in self.manifest.kernels]
        return tuple(sorted(kernels, key=lambda k: -len(k.entry.pattern.calls)))


def open_pack(path: Path | str) -> Pack:
    """The pack in a folder; PackError where there is none or its manifest is not sound."""
    path = Path(path)
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise PackError(
            f"no kernel pack at '{path}': cannot read {MANIFEST} ({error.strerror}); "
            "`metalgen pack` builds one"
        ) from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PackError(f"'{path / MANIFEST}' is not sound: {place}: {first['msg']}") from None
    names = [entry.name for entry in manifest.kernels]
    if len(set(names)) < len(names):
        raise PackError(f"'{path / MANIFEST}' is not sound: two kernels of one name")
    for entry in manifest.kernels:
        if missing := set(FILES) - set(entry.sha256):
            raise PackError(f"'{path / MANIFEST}' is not sound: no hash of {min(missing)}")
    return Pack(path, manifest)
