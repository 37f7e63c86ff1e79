// Direct convolution with bias and ReLU, its sizes in a struct.
#include <metal_stdlib>
using namespace metal;

struct ConvParams {
  int N, C, H, W, K, R, S, stride, pad, P, Q;
};
kernel void f(
    const device float* in [[buffer(0)]],
    const device float* wt [[buffer(1)]],
    const device float* bias [[buffer(2)]],
    device float* out [[buffer(3)]],
    constant ConvParams& p [[buffer(4)]],
    uint3 gid [[thread_position_in_grid]]) {
  if ((int)gid.x >= p.Q || (int)gid.y >= p.P || (int)gid.z >= p.N*p.K) return;
  int n = gid.z / p.K, k = gid.z % p.K;
  float acc = bias[k];
  for (int c=0;c<p.C;++c) for (int r=0;r<p.R;++r) {
    int ih = (int)gid.y*p.stride - p.pad + r;
    if (ih < 0 || ih >= p.H) continue;
    for (int s=0;s<p.S;++s) {
      int iw = int(gid.x)*p.stride - p.pad + s;
      if (iw >= 0 && iw < p.W) acc += in[((n*p.C+c)*p.H+ih)*p.W+iw]*wt[((k*p.C+c)*p.R+r)*p.S+s];
    }
  }
  out[((n*p.K+k)*p.P+gid.y)*p.Q+gid.x] = metal::max(acc, 0.0f);
}
