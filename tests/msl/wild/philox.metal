// Random numbers from counters.
#include <metal_stdlib>
using namespace metal;

inline uint2 mulhilo(uint a, uint b) {
  return uint2(mulhi(a,b), a*b);
}
inline uint4 philox(uint4 c, uint2 k) {
  for (int i=0;i<10;++i) {
    uint2 p0 = mulhilo(0xD2511F53u, c.x), p1 = mulhilo(0xCD9E8D57, c.z);
    c = uint4(p1.x ^ c.y ^ k.x, p1.y, p0.x ^ c.w ^ k.y, p0.y);
    k += uint2(0x9E3779B9, 0xBB67AE85);
  }
  return c;
}
kernel void f(
    device float4* o [[buffer(0)]],
    constant ulong& seed [[buffer(1)]],
    uint i [[thread_position_in_grid]]) {
  uint4 r = philox(uint4(i,0,0,0), as_type<uint2>(seed));
  o[i] = float4(r >> 8) * 0x1p-24f;
}
