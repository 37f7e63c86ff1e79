"""The software device beside eager PyTorch and PoCL on the same CPU, all measured in this run.

    python benchmarks/software_device.py [mlx.metallib] [--only WORD]

PoCL runs what stands in opencl/, line for line what metal/ has; where the kernel is MLX's or one
of metalgen's own, PoCL has the same algorithm without SIMD-group operations, which it lacks. With
Apple's metallib out of the mlx-metal wheel its kernels are measured too. `first` is the CPU time
of a kernel's first call ever, translation and all.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mlx_launches import MlxKernels
from opencl_device import Device, find_device
from side_by_side import HEADER, Call, Workload, line, measure
from torch import Tensor
from torch.nn import functional

import metalgen
from metalgen import ops
from metalgen.library import Library

_SOURCES = Path(__file__).parent / "metal"


def compiled(name: str) -> Library:
    return metalgen.compile_shader((_SOURCES / f"{name}.metal").read_text())


def elementwise(device: Device | None, count: int = 1 << 24) -> Iterator[Workload]:
    library = compiled("silu")
    x, y, z = torch.randn(count), torch.empty(count), torch.empty(count)
    for name, title, threads in (("silu", "", count), ("silu4", " as float4", count // 4)):
        kernel = library.kernel(name)

        def ours(kernel: metalgen.library.Kernel = kernel, threads: int = threads) -> Tensor:
            kernel(x, y, threads=threads, group_size=256)
            return y

        opencl = device and device.call(f"silu.{name}", (x, z), z, [threads], [256])
        eager = partial(torch.ops.aten.silu.out, x, out=torch.empty_like(x))
        yield Workload(f"silu{title}, 16M floats", ours, eager, opencl)


def softmax(device: Device | None, mlx: MlxKernels | None, size: int = 4096) -> Iterator[Workload]:
    x, z = torch.randn(size, size), torch.empty(size, size)
    arguments = (x, z, np.int32(size))
    opencl = device and device.call("rows.softmax", arguments, z, [size * 1024], [1024])
    eager = partial(torch.softmax, x, -1, out=torch.empty_like(x))
    if mlx:
        yield Workload("softmax 4096 × 4096, MLX's", mlx.softmax(x), eager, opencl)
    yield Workload("softmax 4096 × 4096, ops", partial(ops.softmax, x), eager, opencl)


def norm(device: Device | None, mlx: MlxKernels | None, size: int = 4096) -> Iterator[Workload]:
    x, z = torch.randn(size, size), torch.empty(size, size)
    weight, bias = torch.randn(2, size)
    arguments = (x, weight, bias, z, np.float32(1e-5), np.int32(size))
    opencl = device and device.call("rows.layer_norm", arguments, z, [size * 512], [512])
    eager = partial(functional.layer_norm, x, (size,), weight, bias)
    if mlx:
        ours: Call = mlx.layer_norm(x, weight, bias)
        yield Workload("layer_norm 4096 × 4096, MLX's", ours, eager, opencl)
    ours = partial(ops.layer_norm, x, weight, bias)
    yield Workload("layer_norm 4096 × 4096, ops", ours, eager, opencl)


def gemm(device: Device | None, mlx: MlxKernels | None, size: int = 1024) -> Iterator[Workload]:
    a, b = torch.randn(2, size, size)
    d, e, f = torch.empty(3, size, size)
    tiled = compiled("gemm").kernel("gemm")
    tiles = size // 64
    grid = [tiles * 256, tiles]
    opencl = device and device.call("gemm.gemm", (a, b, e, np.uint32(size)), e, grid, [256, 1])
    eager = partial(torch.mm, a, b, out=f)
    if mlx:
        yield Workload("gemm 1024³, MLX's steel", mlx.gemm(a, b), eager, opencl, 1e-3)

    def ours() -> Tensor:
        tiled(a, b, d, size, threadgroups=(tiles, tiles), group_size=256)
        return d

    yield Workload("gemm 1024³, tiled, one to one", ours, eager, opencl, 1e-3)
    yield Workload("gemm 1024³, ops", partial(ops.fused_gemm, a, b), eager, opencl, 1e-3)
    halves = a.half(), b.half()
    ours_half, eager_half = (partial(f, *halves) for f in (ops.fused_gemm, torch.mm))
    yield Workload("gemm 1024³ of half, ops", ours_half, eager_half, None, 0.2)


def convolution(device: Device | None, mlx: MlxKernels | None) -> Iterator[Workload]:
    images, channels, side = 8, 64, 64
    x, weight = torch.randn(images, channels, side, side), torch.randn(channels, channels, 3, 3)
    y, z = torch.empty_like(x), torch.empty_like(x)
    grid = [side, side, images * channels // 8]
    opencl = device and device.call(
        "convolution.convolution", (x, weight, z), z, grid, [side, 4, 1]
    )
    eager = partial(functional.conv2d, x, weight, padding=1)
    if mlx:
        last, last_weight = (t.permute(0, 2, 3, 1).contiguous() for t in (x, weight))
        implicit = mlx.convolution(last, last_weight)
        viewed = (t.permute(0, 3, 1, 2) for t in (last, last_weight))
        eager_last = partial(functional.conv2d, *viewed, padding=1)

        def theirs() -> Tensor:
            return implicit().permute(0, 3, 1, 2)

        yield Workload(
            "conv2d 8×64×64², 3×3, MLX's implicit gemm", theirs, eager_last, opencl, 1e-2
        )
    direct = compiled("convolution").kernel("convolution")

    def ours() -> Tensor:
        direct(x, weight, y, threads=grid, group_size=(side, 4, 1))
        return y

    yield Workload("conv2d 8×64×64², 3×3, one to one", ours, eager, opencl, 1e-2)


def attention(device: Device | None, mlx: MlxKernels | None) -> Iterator[Workload]:
    heads, length, width = 8, 1024, 64
    q, k, v, y, z = torch.randn(5, 1, heads, length, width)
    scale = width**-0.5
    arguments = (q, k, v, z, np.uint32(length), np.float32(scale))
    grid, group = [length, heads], [64, 1]
    opencl = device and device.call("attention.attention", arguments, z, grid, group)
    eager = partial(functional.scaled_dot_product_attention, q, k, v)
    if mlx:
        yield Workload("sdpa 1×8×1024×64, MLX's steel", mlx.attention(q, k, v), eager, opencl)
    kernel = compiled("attention").kernel("attention")

    def ours() -> Tensor:
        kernel(q, k, v, y, length, scale, threads=grid, group_size=group)
        return y

    yield Workload("sdpa 1×8×1024×64, one to one", ours, eager, opencl)


def warm_up() -> None:
    """Loads LLVM and what the software device compiles once for all kernels."""
    x = torch.zeros(31)
    compiled("silu").silu(x, x, group_size=31)


def workloads(device: Device | None, mlx: MlxKernels | None) -> Iterator[Workload]:
    yield from elementwise(device)
    for family in (softmax, norm, gemm, convolution, attention):
        yield from family(device, mlx)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("metallib", nargs="?", help="mlx.metallib of the mlx-metal wheel")
    parser.add_argument("--only", default="", help="measure lines that contain this")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads or 1)
    found = find_device()
    print(f"{platform.processor() or platform.machine()}, {threads} threads, ", end="")
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    print(found if isinstance(found, str) else found.description)
    print(HEADER)
    device = found if isinstance(found, Device) else None
    mlx = MlxKernels.open(options.metallib) if options.metallib else None
    with tempfile.TemporaryDirectory() as cache:
        os.environ["METALGEN_CACHE_DIR"] = cache
        warm_up()
        for workload in workloads(device, mlx):
            if options.only in workload.name:
                print(line(workload.name, measure(workload)), flush=True)


if __name__ == "__main__":
    main()
