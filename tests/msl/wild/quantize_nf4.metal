// Blockwise quantisation to a table of 16 levels, and back.
#include <metal_stdlib>
using namespace metal;

constant float NF4[16] = {-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534,
    0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
    0.5626170039176941, 0.7229568362236023, 1.0};
template <typename T> static inline float absmax_of(const device T* p, uint n) {
  float m = 0;
  for (uint i=0;i<n;++i) m = max(m, abs(float(p[i])));
  return m;
}
static inline uchar nearest(float x) {
  uchar best = 0;
  float e = INFINITY;
  for (uchar c=0;c<16;++c) {
    float d = fabs(x - NF4[c]);
    if (d < e) {
      e = d;
      best = c;
    }
  }
  return best;
}
template <typename T> kernel void quantize(
    const device T* x [[buffer(0)]],
    device uchar* q [[buffer(1)]],
    device float* absmax [[buffer(2)]],
    constant uint& block [[buffer(3)]],
    uint b [[thread_position_in_grid]]) {
  const device T* p = x + b*block;
  float m = absmax_of(p, block);
  absmax[b] = m;
  float inv = m > 0 ? 1/m : 0;
  for (uint i=0;i<block;i+=2) {
    uchar hi = nearest(float(p[i])*inv), lo = nearest(float(p[i+1])*inv);
    q[(b*block+i)/2] = (hi << 4) | lo;
  }
}
template [[host_name(
    "f")]] kernel void quantize<float>(
        const device float*, device uchar*, device float*, constant uint&, uint);
template [[host_name(
    "f16")]] kernel void quantize<half>(
        const device half*, device uchar*, device float*, constant uint&, uint);
kernel void dq(
    const device uchar* q,
    const device float* absmax,
    device float* y,
    constant uint& block,
    uint i [[thread_position_in_grid]]) {
  uchar b = q[i/2];
  uchar c = i & 1 ? b & 0xf : b >> 4;
  y[i] = NF4[c] * absmax[i / block];
}
