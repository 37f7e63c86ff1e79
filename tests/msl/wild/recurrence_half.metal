// A linear recurrence in float over halves.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const half* A [[buffer(0)]],
    device const half* B [[buffer(1)]],
    device half* H [[buffer(2)]],
    constant uint2& shape [[buffer(3)]],
    uint c [[thread_position_in_grid]]) {
  if (c >= shape.y) return;
  float h = 0.f;
  for (uint t=0;t<shape.x;t++) {
    uint k = t*shape.y+c;
    h = fma((float)A[k], h, (float)B[k]);
    H[k] = (half)h;
  }
}
