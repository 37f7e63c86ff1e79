"""The software device beside eager PyTorch on the same CPU, both measured in this run.

Usage: python benchmarks/software_device.py [mlx.metallib]

With Apple's metallib out of the mlx-metal wheel its kernels are measured too.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

import metalgen
from metalgen import ops

SOURCE = """
#include <metal_stdlib>
using namespace metal;

// y[i] = x[i] / (1 + exp(-x[i]))
kernel void silu(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
  y[i] = x[i] / (1 + exp(-x[i]));
}

kernel void silu4(device const float4* x [[buffer(0)]], device float4* y [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  y[i] = x[i] / (1 + exp(-x[i]));
}
"""
_STEEL = "steel_gemm_fused_nn_float32_float32_bm64_bn64_bk16_wm2_wn2"
_ROUNDS = 9
Call = Callable[[], object]


def best(call: Call) -> float:
    """The least milliseconds of several rounds, after one that warms up."""
    call()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def report(name: str, call: Call, eager: Call) -> None:
    ours, theirs = best(call), best(eager)
    print(f"{name:<44}{ours:>10.2f}{theirs:>10.2f}{ours / theirs:>8.2f}", flush=True)


def elementwise(count: int = 1 << 24) -> None:
    library = metalgen.compile_shader(SOURCE)
    x, y, z = torch.randn(count), torch.empty(count), torch.empty(count)

    def eager() -> Tensor:
        return torch.ops.aten.silu.out(x, out=z)

    report("silu, 16M floats", lambda: library.silu(x, y, threads=count, group_size=256), eager)
    quarter = count // 4
    report(
        "silu as float4, 16M floats",
        lambda: library.silu4(x, y, threads=quarter, group_size=256),
        eager,
    )


def rows(count: int = 4096) -> None:
    x, weight = torch.randn(count, count), torch.randn(count)
    report("ops.softmax 4096 x 4096", lambda: ops.softmax(x), lambda: torch.softmax(x, -1))
    report(
        "ops.layer_norm 4096 x 4096",
        lambda: ops.layer_norm(x, weight, weight),
        lambda: torch.nn.functional.layer_norm(x, (count,), weight, weight),
    )


def products(size: int = 1024) -> None:
    for dtype in (torch.float32, torch.float16):
        a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
        name = f"ops.fused_gemm 1024^3, {str(dtype).removeprefix('torch.')}"
        report(name, lambda a=a, b=b: ops.fused_gemm(a, b), lambda a=a, b=b: a @ b)  # type: ignore[misc]


def apples_kernels(path: str, size: int = 1024, wide: int = 4096) -> None:
    library = metalgen.load_metallib(path)
    x, y = torch.randn(wide, wide), torch.empty(wide, wide)
    softmax = library.kernel("block_softmax_float32")
    report(
        "MLX block_softmax 4096 x 4096",
        lambda: softmax(x, y, wide, threadgroups=wide, group_size=1024),
        lambda: torch.softmax(x, -1, out=y),
    )
    a, b, d = (torch.randn(size, size) for _ in range(3))
    tiles, steps = size // 64, size // 16
    strides = (0, 0, 0)
    sizes = struct.pack("<8i3q3i4x", *[size] * 6, tiles, tiles, *strides, 0, steps, 1)
    flags = ("has_batch", "use_out_source", "do_axpby", "align_M", "align_N", "align_K")
    constants: dict[int | str, int | float | bool] = {f: f.startswith("align") for f in flags}
    gemm = library.kernel(_STEEL)
    unused = (bytes(24), torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int64))
    report(
        "MLX steel gemm 1024^3 (SIMD-group matrices)",
        lambda: gemm(
            *(a, b, d, d, sizes, *unused),
            threadgroups=(tiles, tiles, 1),
            group_size=(32, 2, 2),
            constants=constants,
        ),
        lambda: torch.mm(a, b, out=d),
    )


def main() -> None:
    """Print one table."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads or 1)
    print(f"{platform.processor() or platform.machine()}, {threads} threads, ", end="")
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    print(f"{'milliseconds, best of ' + str(_ROUNDS):<44}{'metalgen':>10}{'torch':>10}{'ratio':>8}")
    elementwise()
    rows()
    products()
    if len(sys.argv) > 1:
        apples_kernels(sys.argv[1])


if __name__ == "__main__":
    main()
