"""The software device's compiler: AIR bitcode → native code that runs one threadgroup."""

from __future__ import annotations

from typing import Literal

from metalgen.software.dump import Dump
from metalgen.software.entry import ENTRY
from metalgen.software.function_constants import Constants
from metalgen.software.jit import NativeKernel, compile_module
from metalgen.software.meetings import is_meeting
from metalgen.software.prepare import prepare
from metalgen.software.scheduler import lower_to_coroutines
from metalgen.software.threads import lower_to_loops

__all__ = ["NativeKernel", "translate"]


def translate(
    bitcode: bytes,
    kernel: str,
    constants: Constants | None = None,
    *,
    variant: Literal["any", "rows"] = "any",
    strands: Literal["simdgroup", "thread"] = "simdgroup",
) -> NativeKernel:
    """Host code that runs one threadgroup of `kernel`; docs/architecture.md says how.

    Raises MetallibError for bitcode that cannot be read, LaunchError for wrong function
    constants, UnsupportedError with the name of the feature for what cannot run here.
    """
    dump = Dump.of(kernel)
    prepared = prepare(bitcode, kernel, constants or {}, dump)
    meets = any(is_meeting(instruction) for instruction in prepared.function.instructions())
    text = lower_to_coroutines(prepared) if meets else lower_to_loops(prepared)
    engine = compile_module(text, ENTRY, dump)
    return NativeKernel(
        engine.get_function_address(ENTRY),
        prepared.memory.bytes,
        prepared.memory.alignment,
        engine,
    )
