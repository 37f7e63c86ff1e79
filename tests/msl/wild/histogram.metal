// A histogram by threadgroup atomics, added to device atomics.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const uchar* data [[buffer(0)]],
    device atomic_uint* hist [[buffer(1)]],
    constant uint& n [[buffer(2)]],
    uint gid [[thread_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]],
    uint tgs [[threads_per_threadgroup]],
    uint grid [[threads_per_grid]]) {
  threadgroup atomic_uint local_[256];
  for (uint i=lid;i<256;i+=tgs) atomic_store_explicit(&local_[i], 0, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i=gid;i<n;i+=grid) atomic_fetch_add_explicit(&local_[data[i]], 1u,
      memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i=lid;i<256;i+=tgs) {
    uint c = atomic_load_explicit(&local_[i], memory_order_relaxed);
    if (c) atomic_fetch_add_explicit(&hist[i], c, memory_order_relaxed);
  }
}
