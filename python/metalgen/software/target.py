"""The host as LLVM knows it: the target of everything that the software device compiles."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from metalgen.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Host:
    """A processor; `features` is LLVM's list, as in "+avx2,-avx512f"."""

    triple: str
    cpu: str
    features: str

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")


@functools.cache
def host() -> Host:
    """The processor that this process runs on."""
    features = llvm.get_host_cpu_features().flatten()
    return Host(llvm.get_default_triple(), llvm.get_host_cpu_name(), features)


def has_fused_products() -> bool:
    """Whether an instruction multiplies and adds with one rounding; a function would be slow."""
    return host().has("fma") or host().triple.startswith(("aarch64", "arm64"))


@functools.cache
def initialize() -> None:
    """Register LLVM's code generator for the host; needed before anything is parsed."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def machine(*, quick: bool = False) -> llvm.TargetMachine:
    """A new target machine for the host, for code in memory.

    With `quick` it selects instructions one by one and keeps values in memory.
    """
    initialize()
    here = host()
    return llvm.Target.from_triple(here.triple).create_target_machine(
        cpu=here.cpu, features=here.features, opt=0 if quick else 3, jit=True
    )


def parse(text: str, context: llvm.ContextRef, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The module `text`, for `machine`; UnsupportedError where LLVM refuses it."""
    try:
        module = llvm.parse_assembly(text, context)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UnsupportedError(f"not supported: LLVM refuses the kernel: {reason}") from error
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return module
