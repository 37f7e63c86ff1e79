"""The host as LLVM knows it: the target of everything that the software device compiles."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm


@functools.cache
def initialize() -> None:
    """Register LLVM's code generator for the host; needed before anything is parsed."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def machine() -> llvm.TargetMachine:
    """A new target machine for the host's processor with all its features, for code in memory."""
    initialize()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )
