"""The `.metallib` container and AIR's kernel metadata: read, write and inspect."""

from metalgen.air.kernel_info import Argument, Field, Function, FunctionConstant, KernelInfo
from metalgen.air.metadata_text import metadata_text
from metalgen.air.metallib import Metallib
from metalgen.air.writer import write_metallib

__all__ = [
    "Argument",
    "Field",
    "Function",
    "FunctionConstant",
    "KernelInfo",
    "Metallib",
    "metadata_text",
    "write_metallib",
]
