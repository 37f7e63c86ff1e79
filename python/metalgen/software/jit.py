"""Optimises a lowered module for the host, makes object code of it, and loads that into memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import llvmlite.binding as llvm

from metalgen.errors import UnsupportedError
from metalgen.software import narrow_floats, runtime, target
from metalgen.software.dump import Dump
from metalgen.software.entry import ENTRY
from metalgen.software.ir.passes import ThreadgroupMemory
from metalgen.software.scattered import without_lane_branches


@dataclass(frozen=True, slots=True)
class NativeKernel:
    """A kernel as host code; `address` is a `void (*)(Threadgroup*)`, valid while this lives."""

    address: int
    threadgroup_bytes: int  # static threadgroup memory that the entry point expects
    threadgroup_alignment: int
    engine: llvm.ExecutionEngine = field(repr=False, compare=False)
    is_quick: bool = False  # made by `compile_object_quickly`


def load_object(code: bytes, memory: ThreadgroupMemory, *, is_quick: bool = False) -> NativeKernel:
    """The kernel whose object code was made for this host."""
    machine = target.machine()
    nothing = target.parse("", llvm.create_context(), machine)
    narrow_floats.provide()
    engine = llvm.create_mcjit_compiler(nothing, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(ENTRY)
    return NativeKernel(address, memory.bytes, memory.alignment, engine, is_quick)


def compile_object(text: str, dump: Dump, *, vectorize: bool = True) -> bytes:
    """Optimised object code of the module `text`, whose only visible symbol is ENTRY.

    With `vectorize` LLVM looks for vectors in it; else it is quicker.

    Raises UnsupportedError where the module calls what neither the runtime nor the host defines.
    """
    dump.write("lowered", text)
    machine = target.machine()
    module = _linked(without_lane_branches(text), machine)
    _optimize(module, machine, vectorize=vectorize)
    dump.write("optimized", str(module))
    if dump.enabled:
        dump.write("assembly", machine.emit_assembly(module))
    return bytes(machine.emit_object(module))


def compile_object_quickly(text: str) -> bytes:
    """As `compile_object`, in a fraction of the time: code of threads one by one, hardly optimised.

    Raises UnsupportedError where the module calls what neither the runtime nor the host defines.
    """
    machine = target.machine(quick=True)
    module = _linked(text, machine, inlined=False)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=0))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    # What takes longer to compile than to remove.
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return bytes(machine.emit_object(module))


def _linked(text: str, machine: llvm.TargetMachine, *, inlined: bool = True) -> llvm.ModuleRef:
    """The module `text` with what it calls, to be `inlined` or called; only ENTRY is visible."""
    context = llvm.create_context()
    module = target.parse(text, context, machine)
    runtime.link(module, context, inlined=inlined)
    _require_defined(module)
    for function in module.functions:
        if not function.is_declaration and function.name != ENTRY:
            function.linkage = "internal"
    return module


def _require_defined(module: llvm.ModuleRef) -> None:
    """MCJIT ends the whole process when a symbol is missing, so that must not happen."""
    for function in module.functions:
        name = function.name
        if not function.is_declaration or name.startswith("llvm."):
            continue
        if llvm.address_of_symbol(name) is None:
            raise UnsupportedError(f"not supported: the function {name!r} on the software device")


def _optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine, *, vectorize: bool) -> None:
    # Where all is vectors already, what the higher levels add is mostly the time they take.
    options = llvm.create_pipeline_tuning_options(speed_level=3 if vectorize else 1)
    options.loop_vectorization = vectorize
    options.slp_vectorization = vectorize
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
