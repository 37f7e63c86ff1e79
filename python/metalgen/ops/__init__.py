"""Operations that run metalgen's own Metal kernels, as torch custom ops.

Each takes and returns float32, float16 or bfloat16 tensors of one dtype and one device (cpu: the
software device,
mps: the Apple GPU), accumulates in float32 and rounds once. Wrong arguments raise LaunchError.
"""

from metalgen.ops.gemm import ACTIVATIONS, fused_gemm
from metalgen.ops.norm import layer_norm, rms_norm
from metalgen.ops.softmax import softmax

__all__ = ["ACTIVATIONS", "fused_gemm", "layer_norm", "rms_norm", "softmax"]
