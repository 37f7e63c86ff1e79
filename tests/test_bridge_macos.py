"""metalgen._core linked for arm64 macOS, and held against what torch's wheels for it export.

METALGEN_TORCH_WHEELS="2.6.0 2.13.0" (or "all") says which wheels, some 60 MB each; without it none.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from test_bridge_apple import INCLUDES, SYSTEM, exported, for_macos, undefined_symbols

from apple import build
from metalgen.cache import cache_directory

VERSIONS = "2.6.0 2.7.1 2.8.0 2.9.1 2.10.0 2.11.0 2.12.1 2.13.0 2.14.1 2.15.0".split()
LOOKED_UP = re.findall(r'"(_ZN\w+)"', (build.ROOT / "src/apple/torch_stream.mm").read_text())


def wanted() -> list[str]:
    asked = os.environ.get("METALGEN_TORCH_WHEELS", "").split()
    return VERSIONS if asked == ["all"] else asked


def torch_library(version: str) -> bytes:
    """libtorch_cpu of torch's wheel for arm64 macOS, fetched once into the cache."""
    directory = Path(cache_directory()) / "torch-wheels" / version
    if not list(directory.glob("*.whl")):
        platforms = ("macosx_14_0_arm64", "macosx_11_0_arm64")
        chosen = [part for name in platforms for part in ("--platform", name)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *chosen]
        command += ["--python-version", "3.12", "--only-binary=:all:", "--dest", str(directory)]
        done = subprocess.run([*command, f"torch=={version}"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no wheel of torch {version}: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("torch/lib/libtorch_cpu.dylib")


@pytest.mark.parametrize("version", wanted() or [pytest.param("none", marks=pytest.mark.skip)])
def test_torch_exports_every_function_that_is_looked_up(version):
    assert len(LOOKED_UP) == 6
    missing = {f"_{name}" for name in LOOKED_UP} - exported(torch_library(version))
    assert missing == set()


@pytest.mark.skipif(not wanted(), reason="METALGEN_TORCH_WHEELS is not set; takes a minute")
def test_the_whole_core_links_and_needs_only_python_and_macos(tmp_path):
    import pybind11

    out = tmp_path / "_core.so"
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{pybind11.get_include()}", *INCLUDES]
    sources = [*build.BACKEND, *build.SOFTWARE, *build.BINDINGS, build.GEOMETRY]
    for_macos("-shared", "-fvisibility=hidden", "-undefined", "dynamic_lookup", *includes, *sources,
              "-o", out)  # fmt: skip
    needed = undefined_symbols(out)
    python = {name for name in needed if name.startswith(("_Py", "__Py"))}
    assert {name for name in python if not hasattr(ctypes.pythonapi, name[1:])} == set()
    assert not {name for name in needed if re.search("torch3mps|2at3mps|c10", name)}
    unknown = needed - python - set(SYSTEM) - libsystem()
    assert {name for name in unknown if not name.startswith(("_objc_", "__objc_"))} == set()
    assert {"_dispatch_sync", "_PyLong_AsSize_t"} <= needed


def libsystem() -> set[str]:
    """What macOS's C library exports, after the stub library that the compiler brings."""
    import ziglang

    stub = Path(ziglang.__file__).parent / "lib" / "libc" / "darwin" / "libSystem.tbd"
    return set(re.findall(r"\b(\w+)", stub.read_text()))
