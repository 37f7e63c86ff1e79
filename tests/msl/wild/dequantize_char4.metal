// Rows of char4 scaled by halves.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const char4* q [[buffer(0)]],
    device const half* s [[buffer(1)]],
    device float4* y [[buffer(2)]],
    uint i [[thread_position_in_grid]]) {
  char4 c = q[i];
  y[i] = float4(c) * float(s[i]);
  if (any(c == char4(-128))) y[i] = float4(0);
  uchar4 u = as_type<uchar4>(c);
  y[i].w += (float)(u.w >> 7);
}
