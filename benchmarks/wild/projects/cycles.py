"""Blender's renderer Cycles: all of its kernels in one source (intern/cycles/device/metal).

The host resolves the includes, puts the macros below in front and asks for Metal 3.1 with fast
maths, on macOS 14 (device_impl.mm). Kernels take textures by argument buffers in every form.
For the specialised one it also writes `kernel_data_film_exposure`, a function constant, for
`kernel_data.film.exposure` and the like, which is left out here: textures are refused first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metalgen.compiler import CompileOptions
from wild.project import Package, Project, Source

_GENERIC = (
    ("__KERNEL_METAL_APPLE__", "1"),
    ("__METAL_GLOBAL_BUILTINS__", "1"),
    ("__KERNEL_METAL_MACOS__", "14"),
    ("__KERNEL_METAL_TARGET_CPU_ARM64__", "1"),
    ("__KERNEL_LOCAL_ATOMIC_SORT__", "1"),
)
_RAY_TRACING = (("__METALRT__", "1"), ("__METALRT_MOTION__", "1"))
_SPECIALISED = (("__KERNEL_USE_DATA_CONSTANTS__", "1"),)


def _sources(root: Path) -> Iterator[Source]:
    cycles = root / "blender/intern/cycles"
    text = (cycles / "kernel/device/metal/kernel.metal").read_text()
    options = CompileOptions(standard="metal3.1")
    for name, more in (("", ()), ("MetalRT", _RAY_TRACING), ("specialised", _SPECIALISED)):
        yield Source(f"kernel.metal {name}".strip(), text, (cycles,), (*_GENERIC, *more), options)


PROJECT = Project(
    "Cycles", (Package("debian-source", "blender", "4.3.2+dfsg-2", "trixie"),), _sources
)
