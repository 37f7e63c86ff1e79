"""Conversions of 16-bit floats that LLVM calls on processors without instructions for them."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

from metalgen.software.runtime.archive import bitcode_defining

_NAMES = ("__truncsfhf2", "__truncdfhf2", "__truncsfbf2", "__truncdfbf2", "__extendhfsf2")


@functools.cache
def provide_soft_float() -> llvm.ExecutionEngine:
    """Compile the conversions for this process and let every later MCJIT engine find them.

    The calls appear only while code is generated, too late for linking; libgcc has them from
    version 12 on.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    (bitcode,) = bitcode_defining(set(_NAMES))
    module = llvm.parse_bitcode(bitcode, llvm.create_context())
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    for name in _NAMES:
        module.get_function(name).linkage = "external"
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    for name in _NAMES:
        llvm.add_symbol(name, engine.get_function_address(name))
    return engine
