// An inclusive scan by doubling distances in dynamic threadgroup memory.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device float* d [[buffer(0)]],
    threadgroup float* temp [[threadgroup(0)]],
    uint t [[thread_index_in_threadgroup]],
    uint n [[threads_per_threadgroup]]) {
  temp[t] = d[t];
  for (uint o=1;o<n;o<<=1) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float v = t >= o ? temp[t-o] : 0.0;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    temp[t] += v;
  }
  d[t] = temp[t];
}
