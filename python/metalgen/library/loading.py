"""Metallibs as libraries: kernels by name, loaded on a device when first launched there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metalgen import _core, device
from metalgen.air import Metallib
from metalgen.device import DeviceType
from metalgen.errors import LaunchError, MetallibError
from metalgen.library.kernel import Kernel
from metalgen.torch_device import TorchLibrary

if TYPE_CHECKING:
    from metalgen.software import Variant
    from metalgen.software.function_constants import Constants
    from metalgen.software.tiers import Tiers

Strands = Literal["simdgroup", "thread"]


class Library:
    """The kernels of a metallib, as attributes or by `kernel(name)` where a name is no identifier.

    One library serves every device: a kernel runs where the tensors it is given lie.
    """

    # Whether the software device may begin with quick code; `device.settle` waits for better.
    in_tiers = True

    def __init__(
        self, metallib: Metallib, read_bytes: Callable[[], bytes], strands: Strands = "simdgroup"
    ) -> None:
        self.metallib = metallib
        self._read_bytes = read_bytes
        self._strands: Strands = strands
        self._kernels: dict[str, Kernel] = {}
        self._loaded: dict[DeviceType, _core.Library | TorchLibrary] = {}
        self._tiers: Tiers | None = None

    @property
    def names(self) -> Sequence[str]:
        """The names of all kernels, in the order of the metallib."""
        return self.metallib.names

    def kernel(self, name: str) -> Kernel:
        """The kernel called `name`; raises LaunchError where there is none."""
        if name not in self._kernels:
            if name not in self.metallib.names:
                raise LaunchError(f"no kernel {name!r} in {self.metallib.origin}")
            self._kernels[name] = Kernel(self.metallib.kernel(name), self._load)
        return self._kernels[name]

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            kernel = self.kernel(name)
        except LaunchError as error:
            raise AttributeError(str(error), name=name, obj=self) from None
        self.__dict__[name] = kernel  # found without this method from now on
        return kernel

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.names})

    def __repr__(self) -> str:
        return f"<metalgen library of {len(self.names)} kernels from {self.metallib.origin}>"

    def _load(self, device_type: DeviceType) -> _core.Library | TorchLibrary:
        if device_type not in self._loaded:
            opened = device.open_device(device_type)
            self._loaded[device_type] = (
                opened.load(b"", self._translate)
                if device_type == "cpu"
                else opened.load(self._read_bytes(), self._translate)
            )
        return self._loaded[device_type]

    def _translate(
        self,
        kernel: str,
        constants: list[_core.FunctionConstant],
        variant: Variant,
        improve: _core.Improve,
    ) -> _core.NativeKernel:
        from metalgen.software import tiers, translate
        from metalgen.software.dump import Dump

        bitcode = self.metallib.bitcode(kernel)
        values: Constants = {constant.index: constant.value for constant in constants}
        in_tiers = self.in_tiers and tiers.mode() != "off" and not Dump.of(kernel).enabled
        if in_tiers and self._strands == "simdgroup":
            self._tiers = self._tiers or tiers.Tiers()
            return self._tiers.translate(bitcode, kernel, values, variant, improve)
        return translate(bitcode, kernel, values, variant=variant, strands=self._strands)


def load_metallib(
    source: str | os.PathLike[str] | bytes, *, strands: Strands = "simdgroup"
) -> Library:
    """A library from a .metallib file or its bytes; raises MetallibError where it is not one.

    `strands="thread"` runs kernels on the software device one thread at a time: the slow reference.
    """
    if strands not in ("simdgroup", "thread"):
        raise ValueError(f"expected strands 'simdgroup' or 'thread', found {strands!r}")
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        return Library(Metallib(data), lambda: data, strands)
    path = Path(source)
    return Library(Metallib.open(path), lambda: _read(path), strands)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MetallibError(f"cannot read {path}: {error.strerror}") from error
