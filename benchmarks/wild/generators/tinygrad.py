"""tinygrad: its operations through its Metal renderer, against PyTorch.

tinygrad's own Metal device is replaced by one whose memory is PyTorch's and whose compiler is
metalgen; scheduling, hand-written optimisations and tensor cores are as on a Mac.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import metalgen
from metalgen.compiler import CompileOptions, compile_source
from wild.generated import generated
from wild.generators.results import TOLERANCES, Results
from wild.generators.tinygrad_cases import cases
from wild.project import Package

# tinygrad compiles with -fno-fast-math, for metal3.1 from macOS 14 on.
OPTIONS = CompileOptions(math="safe", standard="metal3.1")
PROJECT = generated("tinygrad", (Package("pypi", "tinygrad", "0.14.0"),), OPTIONS)
_TYPES = {
    "float": torch.float32, "half": torch.float16, "bfloat": torch.bfloat16, "bool": torch.bool,
    "char": torch.int8, "short": torch.int16, "int": torch.int32, "long": torch.int64,
    "uchar": torch.uint8, "ushort": torch.uint16, "uint": torch.uint32, "ulong": torch.uint64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Memory:
    """A part of a buffer."""

    bytes: torch.Tensor

    def part(self, size: int, offset: int) -> _Memory:
        return _Memory(self.bytes[offset : offset + size])


def run(results: Results, packages: Path) -> None:
    """Compute every case with kernels of tinygrad's."""
    sys.path.insert(0, str(packages / "tinygrad"))
    os.environ.update(DEV="METAL", CACHELEVEL="0", PARALLEL="0")
    sys.modules["tinygrad.runtime.ops_metal"] = _device(results)
    from tinygrad import Tensor, dtypes

    def given(tensor: torch.Tensor) -> Any:
        if tensor.dtype == torch.bfloat16:
            return Tensor(tensor.float().numpy()).cast(dtypes.bfloat16).realize()
        return Tensor(tensor.numpy())

    def back(tensor: Any) -> torch.Tensor:
        is_narrow = tensor.dtype == dtypes.bfloat16
        held = torch.tensor((tensor.cast(dtypes.float) if is_narrow else tensor).numpy())
        return held.bfloat16() if is_narrow else held

    for case in cases():
        expected = case.reference(*case.inputs)
        compute = _computed(case.function, [given(x) for x in case.inputs], back, expected)
        results.check(case.name, compute, expected, case.tolerance or _tolerance(case.inputs))


def _computed(
    function: Callable[..., Any],
    inputs: list[Any],
    back: Callable[[Any], torch.Tensor],
    expected: torch.Tensor,
) -> Callable[[], torch.Tensor]:
    """tinygrad's sums and indices may be of narrower types than PyTorch's."""
    return lambda: back(function(*inputs)).to(expected.dtype)


def _tolerance(inputs: tuple[torch.Tensor, ...]) -> tuple[float, float]:
    return max(TOLERANCES.get(x.dtype, (0.0, 0.0)) for x in inputs)


def _device(results: Results) -> types.ModuleType:
    """The module `tinygrad.runtime.ops_metal`."""
    from tinygrad.device import Allocator, Compiled, Compiler, Program

    class MetalCompiler(Compiler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(None)

        def compile(self, source: str) -> bytes:
            results.library(source, OPTIONS)
            return compile_source(source, options=OPTIONS)

    class MetalProgram(Program):  # type: ignore[misc]
        def __init__(self, _: Any, program: Any) -> None:
            self.kernel = metalgen.load_metallib(program.lib).kernel(program.name)
            infos = self.kernel.info.arguments
            self.types = [_TYPES[a.type_name] for a in infos if a.kind == "buffer"]

        def __call__(self, *buffers: _Memory, global_size: Any = (1, 1, 1),
                     local_size: Any = (1, 1, 1), vals: Any = (), **_: Any) -> float:  # fmt: skip
            views = [b.bytes.view(t) for b, t in zip(buffers, self.types, strict=False)]
            self.kernel(
                *views, *vals, threadgroups=tuple(global_size), group_size=tuple(local_size)
            )
            return 0.0

    class MetalAllocator(Allocator):  # type: ignore[misc]
        def _alloc(self, size: int, _: Any) -> _Memory:
            return _Memory(torch.zeros(size, dtype=torch.uint8))

        def _as_buffer(self, memory: _Memory) -> memoryview:
            return memoryview(memory.bytes.numpy())

        def _copyin(self, memory: _Memory, source: memoryview) -> None:
            self._as_buffer(memory)[:] = source

        def _copyout(self, target: memoryview, memory: _Memory) -> None:
            target[:] = self._as_buffer(memory)

        def _offset(self, memory: _Memory, size: int, offset: int) -> _Memory:
            return memory.part(size, offset)

    class MetalDevice(Compiled):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            from tinygrad.renderer.cstyle import MetalRenderer

            allocator = MetalAllocator(self)
            super().__init__(name, allocator, [MetalRenderer], MetalProgram, None, arch="Apple8")

    module = types.ModuleType("tinygrad.runtime.ops_metal")
    for each in (MetalCompiler, MetalProgram, MetalAllocator, MetalDevice):
        each.__module__ = module.__name__
        setattr(module, each.__name__, each)
    return module
