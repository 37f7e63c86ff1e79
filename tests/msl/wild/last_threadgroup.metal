// A sum that the last threadgroup hands out.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const float* x [[buffer(0)]],
    device atomic_float* sum [[buffer(1)]],
    device atomic_uint* done [[buffer(2)]],
    device float* out [[buffer(3)]],
    uint i [[thread_position_in_grid]],
    uint n [[threadgroups_per_grid]],
    uint lane [[thread_index_in_threadgroup]]) {
  float s = simd_sum(x[i]);
  if (lane == 0) {
    atomic_fetch_add_explicit(sum, s, memory_order_relaxed);
    atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, thread_scope_device);
    uint d = atomic_fetch_add_explicit(done, 1u, memory_order_relaxed);
    if (d == n-1) out[0] = atomic_load_explicit(sum, memory_order_relaxed);
  }
}
