// A GRU cell; a lambda that captures everything.
#include <metal_stdlib>
using namespace metal;

inline float sigmoid(float x) {
  return 1.0f / (1.0f + metal::exp(-x));
}
kernel void f(
    const device float* gi,
    const device float* gh,
    const device float* h,
    device float* o,
    constant int& hidden,
    uint2 id [[thread_position_in_grid]]) {
  const auto b = id.y;
  const auto j = id.x;
  if (int(j) >= hidden) {
    return;
  }
  auto at = [=](const device float* p, int gate) {
    return p[b*3*hidden + gate*hidden + j];
  };
  float r = sigmoid(at(gi,0)+at(gh,0)), z = sigmoid(at(gi,1)+at(gh,1)), n =
      precise::tanh(at(gi,2)+r*at(gh,2));
  o[b*hidden+j] = mix(n, h[b*hidden+j], z);
}
