"""Runs the kernels of benchmarks/opencl/ through pyopencl on a CPU, that is on PoCL."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Call
from torch import Tensor

_SOURCES = Path(__file__).parent / "opencl"


class Device:
    """An OpenCL CPU, whose buffers are the tensors' own memory."""

    def __init__(self, opencl: Any, device: Any) -> None:
        self._opencl = opencl
        self._context = opencl.Context([device])
        self._queue = opencl.CommandQueue(self._context)
        self._buffers: list[Any] = []
        self.description = f"{device.platform.version.split('  ')[0]}, {device.name}"

    def call(
        self,
        name: str,
        arguments: Sequence[Tensor | np.generic],
        output: Tensor,
        work_items: Sequence[int],
        group: Sequence[int],
    ) -> Call:
        """A launch of the kernel `file.kernel` that waits for `output` and gives it back."""
        file, kernel_name = name.split(".")
        source = (_SOURCES / f"{file}.cl").read_text()
        program = self._opencl.Program(self._context, source).build(["-cl-fast-relaxed-math"])
        kernel = self._opencl.Kernel(program, kernel_name)
        held = [self._argument(argument) for argument in arguments]
        kernel.set_args(*held)
        self._buffers += held  # which a kernel does not keep alive
        return partial(self._run, kernel, output, tuple(work_items), tuple(group))

    def _argument(self, argument: Tensor | np.generic) -> Any:
        if not isinstance(argument, Tensor):
            return argument
        flags = self._opencl.mem_flags
        shared = flags.READ_WRITE | flags.USE_HOST_PTR
        return self._opencl.Buffer(self._context, shared, hostbuf=argument.numpy())

    def _run(
        self, kernel: Any, output: Tensor, work_items: tuple[int, ...], group: tuple[int, ...]
    ) -> Tensor:
        self._opencl.enqueue_nd_range_kernel(self._queue, kernel, work_items, group).wait()
        return output


def find_device() -> Device | str:
    """The first OpenCL CPU, or the reason why there is none."""
    try:
        opencl = importlib.import_module("pyopencl")
    except ImportError:
        return "no PoCL column: pyopencl is not installed (pip install pyopencl)"
    try:
        platforms = opencl.get_platforms()
    except opencl.Error:
        platforms = []
    for platform in platforms:
        for device in platform.get_devices(opencl.device_type.CPU):
            return Device(opencl, device)
    return "no PoCL column: there is no OpenCL CPU (Debian: apt-get install pocl-opencl-icd)"
