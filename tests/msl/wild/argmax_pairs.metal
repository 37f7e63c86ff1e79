// Argmax by shuffled pairs, ties to the smaller index.
#include <metal_stdlib>
using namespace metal;

template <typename U> struct IndexValPair {
  uint32_t index;
  U val;
};
kernel void f(
    device const float* x [[buffer(0)]],
    device uint* o [[buffer(1)]],
    uint lane [[thread_index_in_simdgroup]]) {
  IndexValPair<float> best{lane, x[lane]};
  for (uint16_t offset = 16; offset > 0; offset /= 2) {
    IndexValPair<float> other{simd_shuffle_down(best.index, offset), simd_shuffle_down(best.val,
        offset)};
    if (best.val < other.val || (best.val == other.val && best.index > other.index)) best = other;
  }
  if (lane == 0) o[0] = best.index;
}
