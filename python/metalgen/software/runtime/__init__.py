"""Definitions, as LLVM IR for host processors, of the `air.*` functions that AIR kernels call."""

from metalgen.software.runtime.bfloat import host_has_bf16, spell_out_bf16
from metalgen.software.runtime.linking import declaration, link
from metalgen.software.runtime.names import SIMDGROUP_FUNCTIONS, defined

__all__ = [
    "SIMDGROUP_FUNCTIONS",
    "declaration",
    "defined",
    "host_has_bf16",
    "link",
    "spell_out_bf16",
]
