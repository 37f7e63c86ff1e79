"""Optimises a lowered module for the host and turns it into code in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import llvmlite.binding as llvm

from metalgen.errors import UnsupportedError
from metalgen.software import narrow_floats, runtime, target
from metalgen.software.dump import Dump
from metalgen.software.scattered import without_lane_branches


@dataclass(frozen=True, slots=True)
class NativeKernel:
    """A kernel as host code; `address` is a `void (*)(Threadgroup*)`, valid while this lives."""

    address: int
    threadgroup_bytes: int  # static threadgroup memory that the entry point expects
    threadgroup_alignment: int
    engine: llvm.ExecutionEngine = field(repr=False, compare=False)


def compile_module(text: str, entry: str, dump: Dump) -> llvm.ExecutionEngine:
    """An engine that holds the function `entry` of the module `text` as optimised host code.

    Raises UnsupportedError where the module calls what neither the runtime nor the host defines.
    """
    dump.write("lowered", text)
    context = llvm.create_context()
    module = llvm.parse_assembly(without_lane_branches(text), context)
    machine = target.machine()
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    runtime.link(module, context)
    _require_defined(module)
    for function in module.functions:
        if not function.is_declaration and function.name != entry:
            function.linkage = "internal"
    _optimize(module, machine)
    dump.write("optimized", str(module))
    if dump.enabled:
        dump.write("assembly", machine.emit_assembly(module))
    narrow_floats.provide()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _require_defined(module: llvm.ModuleRef) -> None:
    """MCJIT ends the whole process when a symbol is missing, so that must not happen."""
    for function in module.functions:
        name = function.name
        if not function.is_declaration or name.startswith("llvm."):
            continue
        if llvm.address_of_symbol(name) is None:
            raise UnsupportedError(f"not supported: the function {name!r} on the software device")


def _optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
