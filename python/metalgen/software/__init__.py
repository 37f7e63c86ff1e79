"""The software device's compiler: AIR bitcode → native code that runs one threadgroup."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from metalgen.errors import UnsupportedError
from metalgen.software import native_cache, runtime
from metalgen.software.dump import Dump
from metalgen.software.function_constants import Constants
from metalgen.software.ir.passes import ThreadgroupMemory
from metalgen.software.jit import (
    NativeKernel,
    compile_object,
    compile_object_quickly,
    load_object,
)
from metalgen.software.meetings import is_meeting
from metalgen.software.prepare import Prepared, prepare
from metalgen.software.recursion import require_plain_recursion
from metalgen.software.scheduler import lower_to_coroutines
from metalgen.software.simdgroup import lower_to_simdgroups
from metalgen.software.simdgroup.cfg import Graph
from metalgen.software.threads import lower_to_loops

if TYPE_CHECKING:
    from metalgen.software.counting import Counting

__all__ = ["NativeKernel", "Strands", "Variant", "translate"]

Variant = Literal["any", "rows", "full"]
Strands = Literal["simdgroup", "thread"]

# Lines of a kernel in which LLVM looks for vectors: half a minute for five times as many.
_MOST_VECTORIZED = 20_000

_log = logging.getLogger(__name__)


def translate(
    bitcode: bytes,
    kernel: str,
    constants: Constants | None = None,
    *,
    variant: Variant = "any",
    strands: Strands = "simdgroup",
    counting: Counting | None = None,
) -> NativeKernel:
    """Host code that runs one threadgroup of `kernel`; docs/architecture.md says how.

    Function constants are given by index or name. With `counting` the code counts what it does,
    and is not kept. Raises MetallibError for bitcode that cannot be read, LaunchError for wrong
    function constants, UnsupportedError with the name of the feature for what cannot run here.
    """
    given = constants or {}
    dump = Dump.of(kernel)
    if counting is not None:
        prepared = prepare(bitcode, kernel, given, dump)
        require_plain_recursion(prepared)
        counting.instrument(kernel, prepared.module, prepared.function)
        code = _compile(prepared, variant, strands, dump)
        return load_object(code, prepared.memory)
    key = native_cache.key(bitcode, kernel, given, variant, strands)
    found = None if dump.enabled else native_cache.load(key)
    if found is None:
        prepared = prepare(bitcode, kernel, given, dump)
        require_plain_recursion(prepared)
        found = _compile(prepared, variant, strands, dump), prepared.memory
        native_cache.save(key, *found)
    return load_object(*found)


def object_code(
    bitcode: bytes, kernel: str, constants: Constants, variant: Variant
) -> tuple[bytes, ThreadgroupMemory]:
    """What `translate` makes and loads, made anew whatever the cache has."""
    dump = Dump.of(kernel)
    return optimised_object(prepare(bitcode, kernel, constants, dump), variant, dump)


def optimised_object(
    prepared: Prepared, variant: Variant, dump: Dump
) -> tuple[bytes, ThreadgroupMemory]:
    """The object code of a kernel that is prepared, which this uses up."""
    require_plain_recursion(prepared)
    return _compile(prepared, variant, "simdgroup", dump), prepared.memory


def translate_quickly(prepared: Prepared) -> NativeKernel:
    """Host code for every variant in a fraction of the time, which runs several times slower."""
    require_plain_recursion(prepared)
    meets = any(is_meeting(instruction) for instruction in prepared.function.instructions())
    text = lower_to_coroutines(prepared) if meets else lower_to_loops(prepared)
    return load_object(compile_object_quickly(text), prepared.memory, is_quick=True)


def _compile(prepared: Prepared, variant: Variant, strands: Strands, dump: Dump) -> bytes:
    meets = any(is_meeting(instruction) for instruction in prepared.function.instructions())
    text = None
    if strands == "simdgroup" and (meets or not _suits_loops(prepared, variant)):
        try:
            text = lower_to_simdgroups(prepared, variant, runtime.defined)
        except UnsupportedError as error:
            _log.debug("kernel %s runs thread by thread: %s", dump.kernel, error)
    if text is not None:
        return compile_object(text, dump, vectorize=False)
    text = lower_to_coroutines(prepared) if meets else lower_to_loops(prepared)
    is_large = text.count("\n") > _MOST_VECTORIZED
    return compile_object(text, dump, vectorize=not meets and not is_large)


def _suits_loops(prepared: Prepared, variant: Variant) -> bool:
    """Whether LLVM vectorises a loop over the threads well, for a kernel whose threads never meet.

    It does where the kernel has no loop of its own. Where SIMD-groups lie in rows, vectors of 32
    threads are as fast or faster.
    """
    return variant == "any" and not Graph(prepared.function).loops
