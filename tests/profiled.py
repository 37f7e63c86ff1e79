"""Kernels whose counts can be told by hand, and plans that launch them."""

import functools

import torch

from metalgen.air import Metallib
from metalgen.compiler import compile_source
from metalgen.plan import TensorType, parse_plan
from metalgen.profile.counted import counted_figures
from metalgen.profile.estimate import static_figures
from metalgen.profile.launches import launches

SOURCE = """
#include <metal_stdlib>
using namespace metal;

kernel void scale(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  constant uint& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] = x[i] * 2.0f + 1.0f;
}

kernel void apart(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  constant uint& stride [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = x[i * stride];
}

kernel void halve(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  uint t [[thread_index_in_threadgroup]],
                  uint group [[threadgroup_position_in_grid]],
                  uint threads [[threads_per_threadgroup]]) {
  threadgroup float part[256];
  part[t] = x[group * threads + t];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint half_ = threads / 2; half_ > 0; half_ /= 2) {
    if (t < half_) part[t] += part[t + half_];
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (t == 0) y[group] = part[0];
}

kernel void product(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                    device float* c [[buffer(2)]], constant uint& n [[buffer(3)]],
                    uint2 p [[thread_position_in_grid]]) {
  float sum = 0;
  for (uint k = 0; k < n; k++) sum += a[p.y * n + k] * b[k * n + p.x];
  c[p.y * n + p.x] = sum;
}

kernel void tiled_product(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                          device float* c [[buffer(2)]], constant uint& n [[buffer(3)]],
                          uint2 p [[thread_position_in_grid]],
                          uint2 t [[thread_position_in_threadgroup]]) {
  threadgroup float left[16][32];
  threadgroup float right[32][32];
  float sum = 0;
  for (uint k = 0; k < n; k += 32) {
    left[t.y][t.x] = a[p.y * n + k + t.x];
    right[t.y][t.x] = b[(k + t.y) * n + p.x];
    right[t.y + 16][t.x] = b[(k + t.y + 16) * n + p.x];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint j = 0; j < 32; j++) sum += left[t.y][j] * right[j][t.x];
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  c[p.y * n + p.x] = sum;
}

kernel void matrices(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                     device float* c [[buffer(2)]], constant uint& n [[buffer(3)]],
                     uint2 group [[threadgroup_position_in_grid]]) {
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint k = 0; k < n; k += 8) {
    simdgroup_float8x8 left, right;
    simdgroup_load(left, a + group.y * 8 * n + k, n);
    simdgroup_load(right, b + k * n + group.x * 8, n);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, c + group.y * 8 * n + group.x * 8, n);
}

kernel void gather(device const int* index [[buffer(0)]], device const float* table [[buffer(1)]],
                   device float* y [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = table[index[i]];
}

kernel void vote(device const float* x [[buffer(0)]], device atomic_int* count [[buffer(1)]],
                 device float* y [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = simd_sum(x[i]);
  if (x[i] > 0) atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}
"""


@functools.cache
def metallib() -> bytes:
    return compile_source(SOURCE, name="profiled.metal")


def step(kernel, args, threads, group_size):
    return {"kernel": kernel, "args": args, "threads": threads, "group_size": group_size}


def plan(outputs, *steps):
    declared = {name: {"dtype": "float32", "shape": shape} for name, shape in outputs.items()}
    return parse_plan({"outputs": declared, "steps": list(steps)})


def square(kernel, group_size, threads=("a.shape[0]", "a.shape[0]")):
    """A plan that multiplies two square matrices."""
    args = ["a", "b", "c", {"uint": "a.shape[0]"}]
    shape = ["a.shape[0]", "a.shape[0]"]
    return plan({"c": shape}, step(kernel, args, list(threads), group_size))


def sizes_of(inputs):
    return {
        name: TensorType(tuple(x.shape), str(x.dtype).removeprefix("torch."))
        for name, x in inputs.items()
    }


def counted(of, inputs):
    """What each dispatch of a plan did."""
    library = Metallib(metallib())
    kernels = {name: library.kernel(name) for name in library.names}
    dispatches = launches(of, kernels, sizes_of(inputs))
    return counted_figures(metallib(), of, inputs, {}, dispatches)


def static(of, inputs):
    return static_figures(metallib(), of, sizes_of(inputs))


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))
