// One step of a bitonic sort.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device float* d [[buffer(0)]],
    constant uint& k [[buffer(1)]],
    constant uint& j [[buffer(2)]],
    uint i [[thread_position_in_grid]]) {
  uint l = i ^ j;
  if (l > i) {
    bool up = (i & k) == 0;
    float a = d[i], b = d[l];
    if ((a > b) == up) {
      d[i] = b;
      d[l] = a;
    }
  }
}
