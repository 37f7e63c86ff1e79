"""One strand per thread, no meetings: loops over a threadgroup's threads with the kernel inside."""

from __future__ import annotations

from metalgen.software.divisions import contain_divisions
from metalgen.software.entry import SIGNATURE, arguments, loop_over_threads
from metalgen.software.ir import write_module
from metalgen.software.ir.model import Instruction
from metalgen.software.ir.passes import flatten_address_spaces
from metalgen.software.ir.types import Pointer
from metalgen.software.metadata import add_node
from metalgen.software.prepare import Prepared

_KERNEL = "metalgen.kernel"
_SHARED_SPACES = (1, 2)  # device, constant


def lower_to_loops(prepared: Prepared) -> str:
    """A module whose entry point runs a kernel without meeting points for every thread in turn."""
    function, module = prepared.function, prepared.module
    contain_divisions(function)
    # Threads that never meet may not depend on each other's plain loads and stores, so LLVM may
    # run several at a time. Private variables are not covered: all threads share their stack.
    group = add_node(module, "distinct !{}")
    parallel = add_node(module, f'!{{!"llvm.loop.parallel_accesses", {group}}}')
    loop = add_node(module, f"distinct !{{!SELF, {parallel}}}")
    empty = add_node(module, "!{}")
    for instruction in function.instructions():
        if _is_shared_access(instruction):
            instruction.suffix += f", !llvm.access.group {group}"
        if _is_constant_load(instruction):
            instruction.suffix += f", !invariant.load {empty}"
    function.name, function.prefix = _KERNEL, "internal"
    function.suffix += " alwaysinline"
    entry = _entry(prepared, f", !llvm.loop {loop}")
    return f"{flatten_address_spaces(write_module(module))}\n{entry}"


def _is_constant_load(instruction: Instruction) -> bool:
    return instruction.opcode == "load" and instruction.operands[0].type == Pointer(2)


def _is_shared_access(instruction: Instruction) -> bool:
    if instruction.opcode not in ("load", "store") or instruction.flags:
        return False
    pointer = instruction.operands[-1].type
    return isinstance(pointer, Pointer) and pointer.address_space in _SHARED_SPACES


def _entry(prepared: Prepared, loop_metadata: str) -> str:
    given = arguments(prepared)
    call = f"call void @{_KERNEL}({', '.join(given.values)})"
    loops = loop_over_threads("entry", [*given.varying, call], loop_metadata)
    return "\n".join([f"{SIGNATURE} {{", "entry:", *given.uniform, *loops, "ret void", "}"])
