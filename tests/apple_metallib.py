"""What Apple's compiler made, out of PyPI's wheels: fetched once, into the cache."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from metalgen.air.embedded import open_metallibs
from metalgen.files import write_whole

_VERSION = "0.32.4"
_WHEEL = f"mlx_metal-{_VERSION}-py3-none-macosx_15_0_arm64.whl"
_MEMBER = "mlx/lib/mlx.metallib"
_METAL_CPP = "mlx/include/metal_cpp"
_DOWNLOAD = f"--platform macosx_15_0_arm64 mlx-metal=={_VERSION}"
_TORCH = "2.9.1"
_TORCH_DOWNLOAD = (
    "--platform macosx_11_0_arm64 --python-version 3.12 --implementation cp --abi none "
    f"torch=={_TORCH}"
)


def apple_metallib() -> Path:
    """The unpacked metallib; skips the test where it is not cached and cannot be fetched."""
    root = _cache()
    path = root / f"mlx-{_VERSION}.metallib"
    if not path.exists():
        with zipfile.ZipFile(_wheel(root)) as archive:
            write_whole(path, archive.read(_MEMBER))
    return path


def apple_headers() -> Path:
    """The directory of metal-cpp's headers, which the same wheel carries; skips as above."""
    return _extracted(_METAL_CPP, f"metal-cpp-{_VERSION}")


def kernel_headers() -> Path:
    """The directory of MLX's kernel headers, `mlx/backend/metal/kernels/...`; skips as above."""
    return _extracted("mlx/include", f"mlx-{_VERSION}-include")


def _extracted(member: str, name: str) -> Path:
    """A directory of the wheel, in the cache as `name`."""
    root = _cache()
    directory = root / name
    if not directory.exists():
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            with zipfile.ZipFile(_wheel(root)) as archive:
                names = [found for found in archive.namelist() if found.startswith(member)]
                archive.extractall(temporary, names)
            with contextlib.suppress(OSError):  # another process was faster
                (Path(temporary) / member).rename(directory)
    return directory


def torch_metallib() -> Path:
    """The MTLB section of libtorch_cpu.dylib; the wheel is 74 MB, of which 14 MB are kept."""
    root = _cache()
    path = root / f"torch-{_TORCH}.metallib"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=root) as to:
            wheel = _fetched(_TORCH_DOWNLOAD, Path(to))
            with zipfile.ZipFile(wheel) as archive:
                library = Path(archive.extract("torch/lib/libtorch_cpu.dylib", to))
            (found,) = open_metallibs(library)
            with library.open("rb") as file:
                file.seek(found.offset)
                write_whole(path, file.read(found.header.size))
    return path


def _cache() -> Path:
    root = Path(os.environ.get("METALGEN_CACHE_DIR") or Path.home() / ".cache" / "metalgen")
    root.mkdir(parents=True, exist_ok=True)
    return root


def _wheel(cache: Path) -> Path:
    wheel = cache / _WHEEL
    if not wheel.exists():
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            _fetched(_DOWNLOAD, Path(directory)).replace(wheel)
    return wheel


def _fetched(what: str, directory: Path) -> Path:
    """The wheel that pip downloads; the test is skipped where there is no network."""
    arguments = f"download --quiet --no-deps --only-binary=:all: {what} --dest".split()
    command = [sys.executable, "-m", "pip", *arguments, str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()[-1:] or ["no reason given"]
        pytest.skip(f"no network to fetch {what}: {reason[0]}")
    (wheel,) = directory.glob("*.whl")
    return wheel
