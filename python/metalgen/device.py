"""Which devices this machine has, and which of them a tensor's memory belongs to."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metalgen import _core
from metalgen.errors import ToolchainError

DeviceType = Literal["cpu", "mps"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that kernels can run on here, and the torch device whose tensors choose it."""

    name: str
    tensors: DeviceType


def available() -> tuple[DeviceInfo, ...]:
    """Every device that can run kernels on this machine, the fastest first."""
    types: list[DeviceType] = ["mps", "cpu"] if _core.has_apple_device() else ["cpu"]
    return tuple(DeviceInfo(name=open_device(type).name, tensors=type) for type in types)


@functools.cache
def open_device(type: DeviceType) -> _core.Device:
    """The device for tensors of a torch device type; raises ToolchainError where there is none."""
    if type == "cpu":
        return _core.software_device(thread_count())
    return _core.apple_device(str(_torch_library()))


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
