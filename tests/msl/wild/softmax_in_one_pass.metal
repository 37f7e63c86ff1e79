// Softmax of each row: one pass that keeps a running maximum and sum.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const float* input [[buffer(0)]],
    device float* output [[buffer(1)]],
    constant int& N [[buffer(2)]],
    
uint row [[threadgroup_position_in_grid]], uint tid [[thread_position_in_threadgroup]], uint
    tg_size [[threads_per_threadgroup]], uint simd_lane_id [[thread_index_in_simdgroup]], uint
    simd_group_id [[simdgroup_index_in_threadgroup]]) {
constexpr int SIMD = 32;
threadgroup float shared_max[SIMD];
threadgroup float shared_sum[SIMD];
float m = -INFINITY, d = 0.0f;
for (uint i = tid; i < (uint)N; i += tg_size) {
  float v = input[row*N+i];
  float nm = fmax(m, v);
  d = d * exp(m - nm) + exp(v - nm);
  m = nm;
}
float wm = simd_max(m);
d *= (m == -INFINITY) ? 0.0f : exp(m - wm);
d = simd_sum(d);
if (simd_lane_id == 0) {
  shared_max[simd_group_id] = wm;
  shared_sum[simd_group_id] = d;
}
threadgroup_barrier(mem_flags::mem_threadgroup);
if (simd_group_id == 0) {
  uint n = (tg_size + SIMD - 1) / SIMD;
  float mm = simd_lane_id < n ? shared_max[simd_lane_id] : -INFINITY;
  float dd = simd_lane_id < n ? shared_sum[simd_lane_id] : 0.0f;
  float g = simd_max(mm);
  dd *= exp(mm - g);
  dd = simd_sum(dd);
  if (simd_lane_id == 0) {
    shared_max[0] = g;
    shared_sum[0] = dd;
  }
}
threadgroup_barrier(mem_flags::mem_threadgroup);
float g = shared_max[0], inv = 1.0f / shared_sum[0];
for (uint i = tid; i < (uint)N; i += tg_size) output[row*N+i] = exp(input[row*N+i] - g) * inv;
}
