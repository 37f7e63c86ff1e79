// Layer norm by moments that SIMD-groups combine as structs.
#include <metal_stdlib>
using namespace metal;

struct Welford {
  float mean;
  float m2;
  float count;
};
inline Welford combine(Welford a, Welford b) {
  Welford r;
  r.count = a.count + b.count;
  if (r.count == 0.0f) {
    r.mean = 0;
    r.m2 = 0;
    return r;
  }
  float delta = b.mean - a.mean;
  r.mean = a.mean + delta * b.count / r.count;
  r.m2 = a.m2 + b.m2 + delta*delta*a.count*b.count/r.count;
  return r;
}
inline Welford simd_combine(Welford w) {
  for (ushort o = 16; o > 0; o >>= 1) {
    Welford t;
    t.mean = simd_shuffle_down(w.mean, o);
    t.m2 = simd_shuffle_down(w.m2, o);
    t.count = simd_shuffle_down(w.count, o);
    w = combine(w, t);
  }
  return w;
}
kernel void f(
    device const float* x [[buffer(0)]],
    device const float* g [[buffer(1)]],
    device const float* b [[buffer(2)]],
    device float* y [[buffer(3)]],
    constant uint& n [[buffer(4)]],
    constant float& eps [[buffer(5)]],
    uint3 tgp [[threadgroup_position_in_grid]],
    uint3 tp [[thread_position_in_threadgroup]],
    uint3 tpt [[threads_per_threadgroup]],
    uint sid [[simdgroup_index_in_threadgroup]],
    uint lid [[thread_index_in_simdgroup]]) {
  threadgroup Welford part[32];
  device const float* r = x + tgp.x*n;
  Welford w = {0,0,0};
  for (uint i=tp.x;i<n;i+=tpt.x) {
    w.count += 1;
    float d = r[i]-w.mean;
    w.mean += d/w.count;
    w.m2 += d*(r[i]-w.mean);
  }
  w = simd_combine(w);
  if (lid == 0) part[sid] = w;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (sid == 0) {
    Welford z = {0.f,0.f,0.f};
    w = lid < tpt.x/32 ? part[lid] : z;
    w = simd_combine(w);
    if (lid==0) part[0] = w;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float mean = part[0].mean, inv = rsqrt(part[0].m2/float(n) + eps);
  for (uint i=tp.x;i<n;i+=tpt.x) y[tgp.x*n+i] = (r[i]-mean)*inv*g[i]+b[i];
}
