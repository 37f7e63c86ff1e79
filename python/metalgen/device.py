"""Which devices this machine has, and which of them a tensor's memory belongs to."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metalgen import _core
from metalgen.errors import ToolchainError

if TYPE_CHECKING:
    from metalgen.torch_device import TorchDevice

DeviceType = Literal["cpu", "mps"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that kernels can run on here, and the torch device whose tensors choose it."""

    name: str
    tensors: DeviceType


@dataclass(frozen=True, slots=True)
class GpuTime:
    """When a device began and ended some work, in seconds of a clock of its own."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it worked."""
        return self.end - self.start


def available() -> tuple[DeviceInfo, ...]:
    """Every device that can run kernels on this machine, the fastest first."""
    types: list[DeviceType] = ["mps", "cpu"] if _has_mps() else ["cpu"]
    return tuple(DeviceInfo(name=open_device(type).name, tensors=type) for type in types)


@functools.cache
def open_device(type: DeviceType) -> _core.Device | TorchDevice:
    """The device for tensors of a torch device type; raises ToolchainError where there is none.

    mps tensors run through metalgen's own backend; METALGEN_MPS=torch, or a build without it,
    through torch.mps.load_metallib.
    """
    if type == "cpu":
        return _core.software_device(thread_count())
    if _goes_through_torch():
        from metalgen.torch_device import TorchDevice

        return TorchDevice()
    return _core.apple_device(str(_torch_library()))


@functools.cache
def measured_on(type: DeviceType) -> str:
    """What times measured on a device are kept under: its name, and the processor it runs on."""
    name: str = open_device(type).name
    if type != "cpu":
        return name
    from metalgen.software.target import host

    return f"{name} on {host().cpu}"


def synchronize(type: str) -> None:
    """Wait for the device of a torch device type; raises LaunchError with what a GPU reports."""
    if type == "mps":  # the software device is done when a launch returns
        open_device(type).synchronize()


def settle() -> None:
    """Wait until all kernels launched so far on the software device run as fast as they will.

    Kernels that take long to optimise begin with code made quickly. Whoever measures time calls
    this after a first launch. Raises ToolchainError where a kernel could not be optimised.
    """
    from metalgen.software.background import background

    background().settle()


def gpu_time(work: Callable[[], object], type: DeviceType = "mps") -> GpuTime:
    """How long the device of `type` works on the kernels that `work()` launches.

    Nothing else may be under way on it. Apple's GPU keeps the times itself; of work that torch
    commits in parts they are the last part's. Raises LaunchError with what the GPU reports.
    """
    return GpuTime(*open_device(type).time(work))


def _has_mps() -> bool:
    if _core.has_apple_device():
        return True
    from metalgen import torch_device

    return torch_device.is_usable()


def _goes_through_torch() -> bool:
    asked = os.environ.get("METALGEN_MPS", "")
    if asked not in ("", "torch", "native"):
        raise ToolchainError(f"METALGEN_MPS is {asked!r}, expected 'native' or 'torch'")
    if asked:
        return asked == "torch"
    return not _core.has_apple_device() and _has_mps()


def _torch_library() -> Path:
    import torch

    return Path(torch.__file__).parent / "lib" / "libtorch_cpu.dylib"


def thread_count() -> int:
    """Host threads of the software device: METALGEN_NUM_THREADS, else the cores we may use."""
    asked = os.environ.get("METALGEN_NUM_THREADS")
    if asked is None:
        return _usable_cores()
    if not asked.isdecimal() or int(asked) == 0:
        raise ToolchainError(f"METALGEN_NUM_THREADS is {asked!r}, expected a positive integer")
    return int(asked)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # absent on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
