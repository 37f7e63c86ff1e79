"""A library that tells when it translates a kernel for the device: no time of the kernel's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from metalgen import _core
from metalgen.air import Metallib
from metalgen.library import Library

if TYPE_CHECKING:
    from metalgen.software import Variant
from metalgen.software import Variant

Progress = Callable[[str, str], None]


class WatchedLibrary(Library):
    """Says ("translate", kernel) when the software device first needs a kernel, then what it said
    before: time limits for launches do not count the translation. What is judged and timed is
    optimised from the first launch on.
    """

    in_tiers = False

    def __init__(self, data: bytes, progress: Progress) -> None:
        super().__init__(Metallib(data), lambda: data)
        self._told = progress
        self._step = ("launch", "")

    def progress(self, step: str, detail: str) -> None:
        """What happens now, besides translation."""
        self._step = (step, detail)
        self._told(step, detail)

    def _translate(
        self,
        kernel: str,
        constants: list[_core.FunctionConstant],
        variant: Variant,
        improve: _core.Improve,
    ) -> _core.NativeKernel:
        self._told("translate", kernel)
        try:
            return super()._translate(kernel, constants, variant, improve)
        finally:
            self._told(*self._step)
