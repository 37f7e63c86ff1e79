"""What torch.mps.load_metallib gives, as torch documents it, over the software Metal.

Tensors are bound by position; `threads` and `group_size` are dispatchThreads' sizes.
"""

from __future__ import annotations

import torch

from metalgen import _core
from metalgen.air import Metallib
from metalgen.software import translate

LAUNCHED: list[str] = []


class ShaderLibrary:
    """The kernels of a metallib as attributes."""

    def __init__(self, metallib: bytes) -> None:
        try:
            self._metallib = Metallib(metallib)
        except Exception as error:
            raise RuntimeError(f"Failed to create Metal library: {error}") from error
        self._device = _core.apple_device(f"{torch.__path__[0]}/lib/libtorch_cpu.dylib")
        self._library = self._device.load(metallib, translate)

    def __getattr__(self, name):
        if name not in self._metallib.names:
            raise RuntimeError(f"Failed to create function state object for: {name}")
        return ShaderFunction(name, self._library.pipeline(name))


class ShaderFunction:
    def __init__(self, name: str, pipeline: _core.Pipeline) -> None:
        self._name, self._pipeline = name, pipeline
        self.max_threads_per_threadgroup = pipeline.max_total_threads

    def __call__(self, *arguments, threads, group_size):
        assert all(tensor.is_mps for tensor in arguments)
        sources = tuple(
            (tensor.untyped_storage().data_ptr(), tensor.storage_offset() * tensor.element_size())
            for tensor in arguments
        )
        grid, group = (tuple([*size, 1, 1][:3]) for size in (threads, group_size))
        self._pipeline.dispatch(sources, _core.Geometry.of_threads(grid, group))
        LAUNCHED.append(self._name)


def install() -> None:
    """Make this torch one that has a GPU and can load metallibs onto it."""
    torch._C._mps_loadMetalllib = ShaderLibrary  # spelled so by torch
    torch.backends.mps.is_available = lambda: True
