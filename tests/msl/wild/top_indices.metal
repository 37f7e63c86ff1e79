// The four largest of a SIMD-group by repeated maxima.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const float* x [[buffer(0)]],
    device uint* idx [[buffer(1)]],
    uint lane [[thread_index_in_simdgroup]]) {
  float v = x[lane];
  uint mine = lane;
  for (uint k=0;k<4;++k) {
    float best = simd_max(v);
    uint who = simd_min(v == best ? mine : 0xffffffffu);
    if (lane == 0) idx[k] = who;
    if (mine == who) v = -HUGE_VALF;
  }
}
