"""Get a project's packages from their registries and unpack them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wild.project import Package, Project

_MIRROR = re.compile(r"^(?:URIs:|deb) .*?(\S+/debian/?)(?=\s|$)", re.MULTILINE)

# macOS 15 on Apple silicon takes the wheels of those before.
_MACOS = tuple(f"--platform=macosx_{version}_0_arm64" for version in (15, 14, 13, 12, 11))


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
    form = "--no-binary" if package.kind == "pypi-source" else "--only-binary"
    platform = _MACOS if package.kind == "pypi-macos" else ()
    _run("pip", "download", "--quiet", "--no-deps", "--no-build-isolation", form, ":all:", pinned,
         *platform, "--dest", str(scratch), python=True)  # fmt: skip
    _extract(scratch, unpacked)


def _from_npm(package: Package, scratch: Path, unpacked: Path) -> None:
    _run("npm", "pack", "--silent", f"{package.name}@{package.version}", cwd=scratch)
    _extract(scratch, unpacked)


def _from_debian(package: Package, scratch: Path, unpacked: Path) -> None:
    """What upstream released, without Debian's patches."""
    options = _apt_options(scratch.parent.parent / ".apt" / package.suite, package.suite)
    pinned = f"{package.name}={package.version}"
    _run("apt-get", *options, "source", "--download-only", "--tar-only", "-qq", pinned, cwd=scratch)
    archives = (path for path in scratch.glob("*.tar.*") if path.suffix != ".asc")
    archive = next(path for path in archives if ".debian." not in path.name)
    _run("tar", "-xf", str(archive), "--strip-components=1", "-C", str(unpacked))


def _apt_options(private: Path, suite: str) -> list[str]:
    """So that apt-get knows the sources of `suite`, whatever this machine's own suite is."""
    listed = private / "sources.list"
    options = [
        f"Dir::State::Lists={private}/lists",
        f"Dir::Cache={private}/cache",
        f"Dir::Etc::SourceList={listed}",
        "Dir::Etc::SourceParts=/dev/null",
        "APT::Sandbox::User=root",
    ]
    words = [word for option in options for word in ("-o", option)]
    if not listed.exists():
        for made in ("lists/partial", "cache/archives/partial"):
            (private / made).mkdir(parents=True, exist_ok=True)
        signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        listed.write_text(f"deb-src {signed} {_mirror()} {suite} main\n")
        _run("apt-get", *words, "update", "-qq")
    return words


def _mirror() -> str:
    """Debian's mirror, as this machine's own configuration of apt has it."""
    apt = Path("/etc/apt")
    for path in (*apt.glob("sources.list.d/*.sources"), apt / "sources.list"):
        if path.exists() and (found := _MIRROR.search(path.read_text())):
            return found[1]
    raise FileNotFoundError("no mirror of Debian in the configuration of apt: expected .../debian")


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
    "pypi-macos": _from_pypi,
    "pypi-source": _from_pypi,
    "npm": _from_npm,
    "debian-source": _from_debian,
}
