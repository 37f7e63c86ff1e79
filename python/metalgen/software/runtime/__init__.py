"""Definitions, as LLVM IR for host processors, of the `air.*` functions that AIR kernels call."""

from metalgen.software.runtime.linking import declaration, link
from metalgen.software.runtime.names import SIMDGROUP_FUNCTIONS, defined

__all__ = ["SIMDGROUP_FUNCTIONS", "declaration", "defined", "link"]
