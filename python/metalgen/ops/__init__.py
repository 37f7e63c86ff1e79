"""Operations that run metalgen's own Metal kernels, as torch custom ops.

Each takes and returns float32, float16 or bfloat16 tensors of one dtype and one device (cpu: the
software device, mps: the Apple GPU), accumulates in float32 and rounds once. Wrong arguments raise
LaunchError. docs/ops.md lists them.
"""

from metalgen.ops.activations import ACTIVATIONS, activation, gated, geglu, gelu, silu, swiglu
from metalgen.ops.attention import scaled_dot_product_attention
from metalgen.ops.channel_norm import batch_norm, group_norm
from metalgen.ops.convolution import conv2d
from metalgen.ops.embedding import embedding
from metalgen.ops.gemm import fused_gemm, linear
from metalgen.ops.norm import add_layer_norm, add_rms_norm, layer_norm, rms_norm
from metalgen.ops.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from metalgen.ops.quantized import QuantizedWeight, quantize, quantized_linear
from metalgen.ops.reduction import REDUCTIONS, reduce
from metalgen.ops.rope import rope, rope_angles
from metalgen.ops.scan import selective_scan
from metalgen.ops.softmax import log_softmax, softmax
from metalgen.ops.volume import conv1d, conv3d
from metalgen.ops.winograd import winograd_conv2d

__all__ = [
    "ACTIVATIONS",
    "REDUCTIONS",
    "QuantizedWeight",
    "activation",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add_layer_norm",
    "add_rms_norm",
    "avg_pool2d",
    "batch_norm",
    "conv1d",
    "conv2d",
    "conv3d",
    "embedding",
    "fused_gemm",
    "gated",
    "geglu",
    "gelu",
    "group_norm",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool2d",
    "quantize",
    "quantized_linear",
    "reduce",
    "rms_norm",
    "rope",
    "rope_angles",
    "scaled_dot_product_attention",
    "selective_scan",
    "silu",
    "softmax",
    "swiglu",
    "winograd_conv2d",
]
