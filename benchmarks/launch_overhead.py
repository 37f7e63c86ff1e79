"""What launching a tiny kernel through the Python API costs, beside torch's smallest operator."""

from __future__ import annotations

import platform
import statistics
import timeit
from collections.abc import Callable

import torch

import metalgen
from metalgen.device import settle

SOURCE = """
#include <metal_stdlib>
kernel void one(device float* out, uint i [[thread_position_in_grid]]) { out[i] = 1; }

kernel void axpy(device const float* x, device float* y, constant float& a, constant uint& n,
                 uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] += a * x[i];
}

kernel void sum_rows(device const float* x, device float* sums, constant uint& columns,
                     threadgroup float* partial, uint row [[threadgroup_position_in_grid]],
                     uint lane [[thread_index_in_simdgroup]]) {
  partial[lane] = lane < columns ? x[row * columns + lane] : 0;
  threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  const float sum = metal::simd_sum(partial[lane]);
  if (lane == 0) sums[row] = sum;
}
"""


def microseconds(call: Callable[[], object]) -> tuple[float, float]:
    """The best and the median over rounds of a call's mean time, in microseconds."""
    call()
    settle()
    rounds = timeit.repeat(call, number=1000, repeat=25)
    return min(rounds) / 1000 * 1e6, statistics.median(rounds) / 1000 * 1e6


def main() -> None:
    """Print one table."""
    library = metalgen.compile_shader(SOURCE)
    x, y, sums = torch.ones(32), torch.ones(32), torch.zeros(1)
    many = torch.zeros(4096)
    calls: dict[str, Callable[[], object]] = {
        "one(tensor)": lambda: library.one(y),
        "axpy(tensor, tensor, float, uint)": lambda: library.axpy(x, y, 0.5, 32),
        "axpy, with threads= and group_size=": lambda: library.axpy(
            x, y, 0.5, 32, threads=(32, 1), group_size=(32, 1)
        ),
        "sum_rows, barrier and simd_sum": lambda: library.sum_rows(
            x, sums, 32, threadgroups=1, group_size=32, threadgroup_memory={0: 128}
        ),
        "one(4096 elements)": lambda: library.one(many),
        "torch: y.add_(x)": lambda: y.add_(x),
    }
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}")
    print(f"{'µs a launch':<40}{'best':>8}{'median':>8}")
    for name, call in calls.items():
        best, median = microseconds(call)
        print(f"{name:<40}{best:>8.2f}{median:>8.2f}")


if __name__ == "__main__":
    main()
