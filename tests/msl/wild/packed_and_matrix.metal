// Packed vectors, swizzles and a matrix from a buffer.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    const device packed_float3* x [[buffer(0)]],
    device float3* y [[buffer(1)]],
    const device float3x3& m [[buffer(2)]],
    uint i [[thread_position_in_grid]]) {
  float3 v = x[i];
  y[i] = m * v + v.zyx * float3(v.xx, 1) + normalize(v);
}
