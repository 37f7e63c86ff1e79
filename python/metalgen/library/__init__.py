"""Load a metallib and launch its kernels on tensors' own memory."""

from metalgen.library.kernel import Kernel, run_together
from metalgen.library.loading import Library, load_metallib

__all__ = ["Kernel", "Library", "load_metallib", "run_together"]
