"""Metal source to metallib: `xcrun metal` where Xcode is, else clang and our headers."""

from metalgen.compiler.build import compile_files, compile_source
from metalgen.compiler.options import CompileOptions

__all__ = ["CompileOptions", "compile_files", "compile_source"]
