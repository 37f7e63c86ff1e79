"""A small reader and writer of textual LLVM IR, for the passes that turn AIR kernels into host
code.
"""

from metalgen.software.ir.parse import parse_module
from metalgen.software.ir.write import write_function, write_module

__all__ = ["parse_module", "write_function", "write_module"]
