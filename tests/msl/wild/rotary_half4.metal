// Rotary embedding of pairs held as half4.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device half4* x [[buffer(0)]],
    device const float2* cs [[buffer(1)]],
    constant uint& pairs [[buffer(2)]],
    uint2 g [[thread_position_in_grid]]) {
  device half4& v = x[g.y*pairs/2 + g.x];
  const float2 a = cs[g.y*pairs + g.x*2], b = cs[g.y*pairs+g.x*2+1];
  float4 f = float4(v);
  v = half4(f.x*a.x - f.y*a.y, f.x*a.y + f.y*a.x, f.z*b.x - f.w*b.y, f.z*b.y + f.w*b.x);
}
