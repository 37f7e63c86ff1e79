"""One kernel of a library: checks a call's arguments and dispatches it on the tensors' device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from metalgen import _core
from metalgen.air import Argument, KernelInfo
from metalgen.device import DeviceType, open_device
from metalgen.errors import LaunchError, UnsupportedError
from metalgen.library.function_constants import Constants, function_constants
from metalgen.library.launch_geometry import (
    MAX_GROUP_THREADS,
    MAX_THREADGROUP_BYTES,
    Size,
    launch_geometry,
)
from metalgen.library.parameter import Parameter, parameter_of
from metalgen.library.tensors import tensor_source
from metalgen.torch_device import TorchDevice, TorchLaunch, TorchLibrary, TorchPipeline

_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)
_GEOMETRIES_KEPT = 256

Casts = str | Mapping[int, str] | None
Pipeline = _core.Pipeline | TorchPipeline


class Loader(Protocol):
    """Gives the device's library for tensors of a torch device type, loaded when first asked."""

    def __call__(self, device_type: DeviceType) -> _core.Library | TorchLibrary: ...


# A launch whose sizes were checked: the last are threadgroup memory's indices and bytes.
_Ready = tuple[Pipeline, DeviceType, _core.Geometry, tuple[tuple[int, int], ...]]


class Kernel:
    """Callable on tensors and values in the order of the kernel's buffer indices."""

    def __init__(self, info: KernelInfo, load: Loader) -> None:
        self.info = info
        self._load = load
        self._parameters = _parameters(info)
        self._signature = _core.Signature(
            [parameter.quick() for parameter in self._parameters], _PLAIN_TENSORS, self._resolve
        )
        self._max_group = min(MAX_GROUP_THREADS, info.max_total_threads or MAX_GROUP_THREADS)
        self._threadgroup_indices = {
            argument.index or 0 for argument in info.arguments if argument.kind == "threadgroup"
        }
        self._pipelines: dict[tuple[DeviceType, Any], Pipeline] = {}
        self._geometries: dict[Any, _core.Geometry] = {}

    def __call__(
        self,
        *args: object,
        threads: Size | None = None,
        group_size: Size | None = None,
        threadgroups: Size | None = None,
        threadgroup_memory: Mapping[int, int] | None = None,
        constants: Constants | None = None,
        arg_casts: Casts = None,
    ) -> None:
        """Run the kernel over `threads` threads, or `threadgroups` whole threadgroups.

        `args` are tensors, numbers, bytes or sequences of numbers, one for each buffer of the
        kernel in the order of their indices; None leaves an optional one unbound. Without sizes
        there are as many threads as the first tensor has elements. `group_size` is in threads,
        `threadgroup_memory` maps [[threadgroup(i)]] indices to bytes, `constants` function
        constants (by name or index) to values (sequences for vectors), and `arg_casts` the types of
        scalars given for parameters whose own type is unknown ("int32", "fp16" ...; one for all, or
        by position).
        Raises LaunchError.
        """
        try:
            pipeline, device, geometry, memory = self._ready(
                args, threads, group_size, threadgroups, threadgroup_memory, constants
            )
            if isinstance(pipeline, TorchPipeline):
                values = self._values(args, device, arg_casts)
                TorchLaunch(pipeline, values, geometry, memory).run()
            else:
                self._signature.dispatch(pipeline, args, device, arg_casts, geometry, memory)
        except LaunchError as error:
            raise LaunchError(f"kernel {self.info.name!r}: {error}") from None

    def launch(
        self,
        *args: object,
        threads: Size | None = None,
        group_size: Size | None = None,
        threadgroups: Size | None = None,
        threadgroup_memory: Mapping[int, int] | None = None,
        constants: Constants | None = None,
    ) -> Launch:
        """The same call made ready for `run_together`; raises LaunchError."""
        try:
            self._refuse_addresses(args)
            pipeline, device, geometry, memory = self._ready(
                args, threads, group_size, threadgroups, threadgroup_memory, constants
            )
            if isinstance(pipeline, TorchPipeline):
                return TorchLaunch(pipeline, self._values(args, device, None), geometry, memory)
            return self._signature.launch(pipeline, args, device, None, geometry, memory)
        except LaunchError as error:
            raise LaunchError(f"kernel {self.info.name!r}: {error}") from None

    def _refuse_addresses(self, args: tuple[object, ...]) -> None:
        """A launch for later would not keep the tensors of an argument buffer alive."""
        for parameter, arg in zip(self._parameters, args, strict=False):
            if parameter.is_argument_buffer and not isinstance(arg, Tensor):
                raise LaunchError(f"{parameter}: argument buffers cannot wait, call the kernel")

    def __repr__(self) -> str:
        listed = ", ".join(f"{p.name}: {p.type_name}" for p in self._parameters)
        return f"<kernel {self.info.name}({listed})>"

    def _ready(
        self,
        args: tuple[object, ...],
        threads: Size | None,
        group_size: Size | None,
        threadgroups: Size | None,
        threadgroup_memory: Mapping[int, int] | None,
        constants: Constants | None,
    ) -> _Ready:
        if len(args) != len(self._parameters):
            raise self._wrong_count(args)
        device, first = _device_of(args)
        if threads is None and threadgroups is None and first is not None:
            threads = first.numel()
        geometry = self._geometry(threads, threadgroups, group_size)
        memory: tuple[tuple[int, int], ...] = ()
        if threadgroup_memory or self._threadgroup_indices:
            memory = self._threadgroup_memory(threadgroup_memory or {})
        pipeline = self._pipelines.get((device, None)) if constants is None else None
        if pipeline is None:
            pipeline = self._pipeline(device, constants)
        return pipeline, device, geometry, memory

    def _values(
        self, args: tuple[object, ...], device: DeviceType, casts: Casts
    ) -> dict[int, Tensor | bytes | None]:
        """Checked arguments by buffer index: tensors as they are, anything else as bytes."""
        values: dict[int, Tensor | bytes | None] = {}
        for position, (parameter, arg) in enumerate(zip(self._parameters, args, strict=True)):
            source = self._resolve(position, arg, device, casts)
            if isinstance(arg, Tensor):
                values[parameter.index] = arg
            else:
                assert source is None or isinstance(source, bytes)
                values[parameter.index] = source
        return values

    def _resolve(
        self, position: int, arg: object, device: DeviceType, casts: Casts
    ) -> _core.Source:
        parameter = self._parameters[position]
        if isinstance(arg, Tensor):
            return tensor_source(parameter, arg, device)
        cast = casts.get(position) if isinstance(casts, Mapping) else casts
        return parameter.source_of(arg, cast=cast)

    def _wrong_count(self, args: tuple[object, ...]) -> LaunchError:
        names = ", ".join(parameter.name for parameter in self._parameters) or "none"
        return LaunchError(
            f"expected {len(self._parameters)} arguments ({names}), found {len(args)}"
        )

    def _geometry(
        self, threads: Size | None, threadgroups: Size | None, group_size: Size | None
    ) -> _core.Geometry:
        key = (threads, threadgroups, group_size)
        try:
            known = self._geometries.get(key)
        except TypeError:  # a list
            return launch_geometry(threads, threadgroups, group_size, self._max_group)
        if known is None:
            known = launch_geometry(threads, threadgroups, group_size, self._max_group)
            if len(self._geometries) >= _GEOMETRIES_KEPT:
                self._geometries.clear()
            self._geometries[key] = known
        return known

    def _threadgroup_memory(self, wanted: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
        if set(wanted) != self._threadgroup_indices:
            raise LaunchError(
                f"expected threadgroup_memory for indices {sorted(self._threadgroup_indices)}, "
                f"found {list(wanted)}"
            )
        if not all(isinstance(size, int) for size in wanted.values()):
            raise LaunchError(f"expected integers for threadgroup_memory, found {dict(wanted)}")
        # Metal wants multiples of 16.
        rounded = {index: (size + 15) // 16 * 16 for index, size in wanted.items()}
        total = self.info.threadgroup_bytes + sum(rounded.values())
        if min(rounded.values(), default=0) < 0 or total > MAX_THREADGROUP_BYTES:
            raise LaunchError(
                f"expected at most {MAX_THREADGROUP_BYTES} bytes of threadgroup memory, found "
                f"{self.info.threadgroup_bytes} static and {list(wanted.values())} dynamic"
            )
        return tuple(rounded.items())

    def _pipeline(self, device: DeviceType, constants: Constants | None) -> Pipeline:
        values = function_constants(self.info.constants, constants or {})
        key = tuple((value.index, value.value) for value in values) or None
        pipeline = self._pipelines.get((device, key))
        if pipeline is None:
            self._check_static()
            pipeline = self._load(device).pipeline(self.info.name, values)
            self._pipelines[device, key] = pipeline
        return pipeline

    def _check_static(self) -> None:
        for argument in self.info.arguments:
            if argument.kind in ("texture", "sampler"):
                raise UnsupportedError(
                    f"not supported: {argument.kind} arguments ({argument.name!r} of kernel "
                    f"{self.info.name!r})"
                )
        if self.info.threadgroup_bytes > MAX_THREADGROUP_BYTES:
            raise LaunchError(
                f"expected at most {MAX_THREADGROUP_BYTES} bytes of threadgroup memory, found "
                f"{self.info.threadgroup_bytes} static"
            )


Launch = _core.Launch | TorchLaunch


def run_together(device: DeviceType, launches: Sequence[Launch], waits: Sequence[bool]) -> None:
    """Run launches on one device, on Apple's GPU in one encoder.

    `waits[i]` says that launch i uses memory which an earlier one writes, or writes what that one
    uses; the others may overlap. Raises LaunchError.
    """
    opened = open_device(device)
    if isinstance(opened, TorchDevice):
        opened.run([launch for launch in launches if isinstance(launch, TorchLaunch)])
    else:
        ready = [launch for launch in launches if isinstance(launch, _core.Launch)]
        opened.run(ready, waits)


def _parameters(info: KernelInfo) -> tuple[Parameter, ...]:
    def index_of(argument: Argument) -> int:
        return argument.index or 0

    ordered = sorted(info.buffers, key=index_of)
    return tuple(parameter_of(list(same)) for _, same in groupby(ordered, key=index_of))


def _device_of(args: tuple[object, ...]) -> tuple[DeviceType, Tensor | None]:
    """The torch device type that a call runs on, and its first tensor."""
    for arg in args:
        if isinstance(arg, Tensor):
            if arg.is_cpu:
                return "cpu", arg
            if arg.is_mps:
                return "mps", arg
            raise LaunchError(f"expected tensors on cpu or mps, found {arg.device}")
    return "cpu", None
