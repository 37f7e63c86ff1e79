"""A kernel's first launch soon: quickly made code at once, optimised code when it is ready.

Most of a translation is LLVM's work on vectors of 32 lanes. Of a kernel where that would take long
a first launch runs scalar code, of all threads one by one and hardly optimised. Meanwhile another
process translates the kernel as it should be, and threadgroups that start later run that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from metalgen.errors import ToolchainError
from metalgen.software import Variant, native_cache, optimised_object, translate_quickly
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
        known = native_cache.load(key)
        if known is not None and mode() == "on":
            return load_object(*known)
        whole = native_cache.key(bitcode, kernel, constants)
        if whole not in self._quick:
            dump = Dump.of(kernel)
            prepared = prepare(bitcode, kernel, constants, dump)
            if mode() == "on" and _is_small(prepared):
                made = optimised_object(prepared, variant, dump)
                native_cache.save(key, *made)
                return load_object(*made)
            self._quick[whole] = translate_quickly(prepared)
        if mode() == "on":
            background().submit(Job(bitcode, kernel, constants, variant, _keeper(key, improve)))
        return self._quick[whole]


def _is_small(prepared: Prepared) -> bool:
    instructions = list(prepared.function.instructions())
    plain = not any(map(is_meeting, instructions)) and not Graph(prepared.function).loops
    return plain and len(instructions) < _FEW


def _keeper(key: str, improve: Improve) -> Callable[[bytes, ThreadgroupMemory], None]:
    """What keeps object code for later processes and has this one run it."""

    def keep(code: bytes, memory: ThreadgroupMemory) -> None:
        native_cache.save(key, code, memory)
        improve(load_object(code, memory))

    return keep
