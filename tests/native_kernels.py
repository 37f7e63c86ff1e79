"""Hand-written kernels behind the interface of translated ones, compiled once for all tests."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from metalgen import _core

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Native:
    """What a translator returns."""

    address: int
    threadgroup_bytes: int = 0
    is_quick: bool = False


@functools.cache
def _compiled() -> ctypes.CDLL:
    compiler = shutil.which("c++") or shutil.which("clang++")
    assert compiler is not None, "these tests need the C++ compiler that metalgen was built with"
    directory = tempfile.mkdtemp(prefix="metalgen-tests-")
    library = Path(directory) / "native_kernels.so"
    source = Path(__file__).with_name("native_kernels.cpp")
    flags = ["-std=c++20", "-O2", "-shared", "-fPIC", f"-I{ROOT / 'src'}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    shutil.rmtree(directory)  # the mapping outlives the file
    return loaded


def native(name: str, threadgroup_bytes: int = 0) -> Native:
    """The kernel `name` of native_kernels.cpp."""
    function = getattr(_compiled(), name)
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return Native(address, threadgroup_bytes)


def translate(
    kernel: str, constants: list[_core.FunctionConstant], variant: str, improve: _core.Improve
) -> _core.NativeKernel:
    """A translator that knows the hand-written kernels."""
    return native(kernel, threadgroup_bytes=1000)


def library(threads: int = 4) -> _core.Library:
    """The hand-written kernels on a software device of their own."""
    return _core.software_device(threads).load(b"", translate)
