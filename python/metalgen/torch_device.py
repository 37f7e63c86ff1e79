"""Apple's GPU through torch.mps.load_metallib alone: the fallback where `_core` has no backend.

It does less than the native one (no function constants, no dynamic threadgroup memory, each
launch by itself) and is slower, but it is torch's own code that launches: an oracle for ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from metalgen import _core
from metalgen.errors import LaunchError, ToolchainError, UnsupportedError

_REMEDY = "torch.mps.load_metallib has none; use metalgen's own backend (unset METALGEN_MPS)"


def is_usable() -> bool:
    """Whether this torch has an Apple GPU and can load metallibs (from torch 2.13 on)."""
    return torch.backends.mps.is_available() and hasattr(torch.mps, "load_metallib")


@dataclass(frozen=True)
class TorchPipeline:
    """One kernel as torch launches it."""

    kernel: Callable[..., Any]

    @property
    def max_total_threads(self) -> int:
        """Most threads that one threadgroup may have."""
        return int(getattr(self.kernel, "max_threads_per_threadgroup", 1024))


@dataclass(frozen=True)
class TorchLaunch:
    """A call of one kernel; `values` by buffer index are tensors, bytes, or None for unbound."""

    pipeline: TorchPipeline
    values: Mapping[int, Tensor | bytes | None]
    geometry: _core.Geometry
    memory: tuple[tuple[int, int], ...] = ()

    def run(self) -> None:
        """Enqueue it on torch's stream."""
        if self.memory:
            raise UnsupportedError(f"not supported: dynamic threadgroup memory; {_REMEDY}")
        if 0 in self.geometry.grid:
            return
        count = max(self.values, default=-1) + 1
        arguments = [_bound(self.values.get(index)) for index in range(count)]
        try:
            self.pipeline.kernel(
                *arguments, threads=self.geometry.grid, group_size=self.geometry.group_size
            )
        except RuntimeError as error:
            raise LaunchError(f"torch: {str(error).splitlines()[0]}") from None


def _bound(value: Tensor | bytes | None) -> Tensor:
    """A tensor with memory: torch takes arguments by position, and none may be missing."""
    if isinstance(value, Tensor):
        return value if value.numel() else torch.empty(16, dtype=torch.uint8, device="mps")
    content = value or bytes(16)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).to("mps")


class TorchLibrary:
    """The kernels of one metallib as torch loaded it."""

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded

    def pipeline(
        self, kernel: str, constants: Sequence[_core.FunctionConstant] = ()
    ) -> TorchPipeline:
        """The kernel called `kernel`; raises LaunchError where there is none."""
        if constants:
            raise UnsupportedError(f"not supported: function constants; {_REMEDY}")
        try:
            return TorchPipeline(getattr(self._loaded, kernel))
        except (AttributeError, RuntimeError) as error:
            raise LaunchError(f"torch: {str(error).splitlines()[0]}") from None


class TorchDevice:
    """What `_core.Device` offers, as far as torch.mps has it."""

    def __init__(self) -> None:
        if not is_usable():
            raise ToolchainError(
                "this torch cannot load metallibs onto a GPU: it needs a Mac and torch 2.13"
            )

    @property
    def name(self) -> str:
        """The GPU's name and the way to it."""
        return f"{torch.mps.get_name()} through torch" if hasattr(torch.mps, "get_name") else "mps"

    @property
    def family(self) -> str:
        """What torch does not tell."""
        return "family not known through torch"

    def load(self, metallib: bytes, translate: object) -> TorchLibrary:
        """Load a metallib; raises ToolchainError with Metal's reason."""
        try:
            return TorchLibrary(torch.mps.load_metallib(metallib))  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ToolchainError(f"torch refused the metallib: {reason}") from None

    def run(self, launches: Sequence[TorchLaunch]) -> None:
        """Enqueue launches in their order."""
        for launch in launches:
            launch.run()

    def time(self, work: Callable[[], object]) -> tuple[float, float]:
        """When the GPU began and ended what `work` enqueues, in seconds from its beginning."""
        start, end = (torch.mps.Event(enable_timing=True) for _ in range(2))
        self.synchronize()
        start.record()
        work()
        end.record()
        self.synchronize()
        return 0.0, start.elapsed_time(end) / 1e3

    def synchronize(self) -> None:
        """Wait until everything enqueued has finished."""
        torch.mps.synchronize()

    def wrap(self, address: int, bytes: int) -> NoReturn:
        """Not through torch."""
        raise UnsupportedError(f"not supported: sharing memory without copies; {_REMEDY}")

    def allocate(self, bytes: int) -> NoReturn:
        """Not through torch."""
        raise UnsupportedError(f"not supported: buffers without tensors; {_REMEDY}")
