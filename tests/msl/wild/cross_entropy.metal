// Cross entropy with 64-bit targets, a SIMD-group a row.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const float* logits [[buffer(0)]],
    device const int64_t* target [[buffer(1)]],
    device float* loss [[buffer(2)]],
    constant uint& C [[buffer(3)]],
    uint r [[threadgroup_position_in_grid]],
    uint t [[thread_index_in_simdgroup]]) {
  float m = -INFINITY;
  for (uint c=t;c<C;c+=32) m = metal::max(m, logits[r*C+c]);
  m = simd_max(m);
  float s = 0;
  for (uint c=t;c<C;c+=32) s += exp(logits[r*C+c]-m);
  s = simd_sum(s);
  if (t==0) loss[r] = m + log(s) - logits[r*C+uint(target[r])];
}
