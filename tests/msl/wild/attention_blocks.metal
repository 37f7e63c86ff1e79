// Attention with an online softmax over blocks of keys; a template of kernels.
#include <metal_stdlib>
using namespace metal;

template <typename T, int D, int BR, int BC>
[[kernel]] void flash(
    device const T* Q [[buffer(0)]],
    device const T* K [[buffer(1)]],
    device const T* V [[buffer(2)]],
    device T* O [[buffer(3)]],
    constant int& seq [[buffer(4)]],
    constant float& scale [[buffer(5)]],
    uint3 tg [[threadgroup_position_in_grid]],
    ushort tid [[thread_index_in_threadgroup]]) {
  threadgroup T ks[BC*D];
  threadgroup T vs[BC*D];
  const int base = tg.y*seq*D;
  const int row = tg.x*BR + tid;
  float q[D];
  float acc[D] = {0};
  float m = -3.4e38f, l = 0;
  if (row < seq) for (int d=0;d<D;++d) q[d] = float(Q[base+row*D+d]) * scale;
  for (int j=0;j<seq;j+=BC) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int e=tid;e<BC*D;e+=BR) {
      bool in = j + e/D < seq;
      ks[e] = in ? K[base+j*D+e] : T(0);
      vs[e] = in ? V[base+j*D+e] : T(0);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (row >= seq) continue;
    const int lim = min(BC, seq-j);
    for (int c=0;c<lim;++c) {
      float s=0;
      for (int d=0;d<D;++d) s += q[d]*float(ks[c*D+d]);
      float nm = max(m,s);
      float a = fast::exp(m-nm), p = fast::exp(s-nm);
      l = l*a + p;
      for (int d=0;d<D;++d) acc[d] = acc[d]*a + p*float(vs[c*D+d]);
      m = nm;
    }
  }
  if (row < seq) {
    const float r = 1.0f/l;
    for (int d=0;d<D;++d) O[base+row*D+d] = T(acc[d]*r);
  }
}
#define INST(n, T, D) template [[host_name(n)]] [[kernel]] void flash<T, D, 32, 16>(device const \
    T*, device const T*, device const T*, device T*, constant int&, constant float&, uint3, \
    ushort);
INST("f", float, 32) INST("f_half_64", half, 64) INST("f_bf", bfloat, 32)
