"""Get a project's packages from their registries and unpack them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wild.project import Package, Project


def folder(project: Project, root: Path) -> Path:
    """The folder with the project's unpacked packages; those that are missing are fetched."""
    here = root / project.name
    here.mkdir(parents=True, exist_ok=True)
    for package in project.packages:
        _fetch(package, here / package.name)
    return here


def _fetch(package: Package, target: Path) -> None:
    done = target / ".version"
    if done.exists() and done.read_text() == package.version:
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        unpacked = Path(scratch) / "unpacked"
        unpacked.mkdir()
        _UNPACKERS[package.kind](package, Path(scratch), unpacked)
        (unpacked / ".version").write_text(package.version)
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)


def _from_pypi(package: Package, scratch: Path, unpacked: Path) -> None:
    pinned = f"{package.name}=={package.version}"
    form = "--only-binary" if package.kind == "pypi" else "--no-binary"
    _run("pip", "download", "--quiet", "--no-deps", "--no-build-isolation", form, ":all:", pinned,
         "--dest", str(scratch), python=True)  # fmt: skip
    _extract(scratch, unpacked)


def _from_npm(package: Package, scratch: Path, unpacked: Path) -> None:
    _run("npm", "pack", "--silent", f"{package.name}@{package.version}", cwd=scratch)
    _extract(scratch, unpacked)


def _from_debian(package: Package, scratch: Path, unpacked: Path) -> None:
    pinned = f"{package.name}={package.version}"
    _run("apt-get", "source", "--download-only", "-qq", pinned, cwd=scratch)
    (description,) = scratch.glob("*.dsc")
    unpacked.rmdir()
    _run("dpkg-source", "--no-check", "-x", str(description), str(unpacked))


def _extract(scratch: Path, unpacked: Path) -> None:
    """The one archive in `scratch`; a folder that holds all of it is left out."""
    (archive,) = (path for path in scratch.iterdir() if path.is_file())
    kind = "zip" if archive.suffix in (".whl", ".zip") else "gztar"
    shutil.unpack_archive(archive, unpacked, kind)
    top = list(unpacked.iterdir())
    if len(top) == 1 and top[0].is_dir():
        inner = top[0].rename(scratch / "inner")
        unpacked.rmdir()
        inner.rename(unpacked)


def _run(*command: str, cwd: Path | None = None, python: bool = False) -> None:
    words: Sequence[str] = (sys.executable, "-m", *command) if python else command
    subprocess.run(words, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


_UNPACKERS = {
    "pypi": _from_pypi,
    "pypi-source": _from_pypi,
    "npm": _from_npm,
    "debian-source": _from_debian,
}
