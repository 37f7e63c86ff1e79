"""A metallib whose kernels count what they do on the software device."""

from __future__ import annotations

from metalgen import _core
from metalgen.air import Metallib
from metalgen.library.loading import Library, Strands
from metalgen.software import Variant, translate
from metalgen.software.counting import Counting


class CountingLibrary(Library):
    """Like `load_metallib`'s, for tensors on the CPU; `counting` has what its kernels counted."""

    def __init__(self, metallib: bytes, *, strands: Strands = "simdgroup") -> None:
        super().__init__(Metallib(metallib), lambda: metallib, strands)
        self.counting = Counting()

    def _translate(
        self,
        kernel: str,
        constants: list[_core.FunctionConstant],
        variant: Variant,
        improve: _core.Improve,
    ) -> _core.NativeKernel:
        return translate(
            self.metallib.bitcode(kernel),
            kernel,
            {constant.index: constant.value for constant in constants},
            variant=variant,
            strands=self._strands,
            counting=self.counting,
        )
