"""The software device's main way of running kernels: a whole SIMD-group as 32-wide vectors."""

from metalgen.software.simdgroup.lowering import lower_to_simdgroups

__all__ = ["lower_to_simdgroups"]
