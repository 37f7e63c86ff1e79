"""The `.metallib` container and AIR's kernel metadata: read, write and inspect."""

from metalgen.air.kernel_info import Argument, Field, Function, FunctionConstant, KernelInfo
from metalgen.air.metallib import Metallib

__all__ = ["Argument", "Field", "Function", "FunctionConstant", "KernelInfo", "Metallib"]
