"""A kernel's first launch soon: quickly made code at once, optimised code when it is ready.

Most of a translation is LLVM's work on vectors of 32 lanes. Of a kernel where that would take long
a first launch runs scalar code, of all threads one by one and hardly optimised. Meanwhile another
process translates the kernel as it should be, and threadgroups that start later run that.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from typing import Literal

from metalgen.errors import ToolchainError, UnsupportedError
from metalgen.software import (
    Variant,
    native_cache,
    object_code,
    optimised_object,
    translate_quickly,
)
from metalgen.software.background import Job, background
from metalgen.software.dump import Dump
from metalgen.software.function_constants import Constants
from metalgen.software.ir.passes import ThreadgroupMemory
from metalgen.software.jit import NativeKernel, load_object
from metalgen.software.meetings import is_meeting
from metalgen.software.prepare import Prepared, prepare
from metalgen.software.simdgroup.cfg import Graph

Improve = Callable[[NativeKernel], None]

# Without loops and meetings, so many instructions are optimised in half the time allowed.
_FEW = 100
_CALL = 10  # instructions that a call of the runtime counts as


Mode = Literal["on", "off", "quick"]
_MODES: dict[str, Mode] = {"on": "on", "off": "off", "quick": "quick"}


def mode() -> Mode:
    """METALGEN_TIERS: "off" optimises kernels before they run, "quick" never does."""
    asked = os.environ.get("METALGEN_TIERS", "on")
    if asked not in _MODES:
        raise ToolchainError(f"METALGEN_TIERS is {asked!r}, expected 'on', 'off' or 'quick'")
    return _MODES[asked]


class Tiers:
    """Translates the kernels of one metallib."""

    def __init__(self) -> None:
        self._quick: dict[str, NativeKernel] = {}  # by kernel: they serve every variant

    def translate(
        self, bitcode: bytes, kernel: str, constants: Constants, variant: Variant, improve: Improve
    ) -> NativeKernel:
        """The best code to be had soon; `improve` is given the optimised code if this is not yet.

        Raises as `metalgen.software.translate` does.
        """
        key = native_cache.key(bitcode, kernel, constants, variant, "simdgroup")
        known = native_cache.load(key) if mode() == "on" else None
        if known is not None:
            return load_object(*known)
        whole = native_cache.key(bitcode, kernel, constants)
        if whole not in self._quick:
            with _no_collections():
                prepared = prepare(bitcode, kernel, constants, Dump.of(kernel))
                if mode() == "on" and _is_small(prepared):
                    return _kept(key, optimised_object(prepared, variant, Dump.of(kernel)))
                try:
                    self._quick[whole] = translate_quickly(prepared)
                except UnsupportedError:  # thread by thread, it may be
                    return _kept(key, object_code(bitcode, kernel, constants, variant))
        if mode() == "on":

            def done(code: bytes, memory: ThreadgroupMemory) -> None:
                improve(_kept(key, (code, memory)))

            background().submit(Job(bitcode, kernel, constants, variant, done))
        return self._quick[whole]


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Without Python's search for cycles: one through all of PyTorch's objects takes 50 ms."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _is_small(prepared: Prepared) -> bool:
    instructions = list(prepared.function.instructions())
    calls = sum(instruction.callee_name.startswith("air.") for instruction in instructions)
    if len(instructions) + _CALL * calls >= _FEW or any(map(is_meeting, instructions)):
        return False
    try:
        return not Graph(prepared.function).loops
    except UnsupportedError:  # loops that have no end or several entries
        return False


def _kept(key: str, made: tuple[bytes, ThreadgroupMemory]) -> NativeKernel:
    """Object code to be run here and found by later processes."""
    native_cache.save(key, *made)
    return load_object(*made)
