// Max pooling with 64-bit indices.
#include <metal_stdlib>
using namespace metal;

kernel void f(
    device const float *x [[ buffer(0) ]],
    device float *y [[ buffer(1) ]],
    device long *ind [[ buffer(2) ]],
    constant int4 &s [[ buffer(3) ]],
    uint3 gid [[ thread_position_in_grid ]]) {
  const int H = s.x, W = s.y, k = s.z, st = s.w;
  const int OH = (H-k)/st+1, OW = (W-k)/st+1;
  if (gid.x >= uint(OW) || gid.y >= uint(OH)) return;
  float best = -FLT_MAX;
  long bi = -1;
  for (int i = 0; i < k; ++i) {
    for (int j = 0; j < k; ++j) {
      int h = gid.y*st+i, w = gid.x*st+j;
      float v = x[(gid.z*H+h)*W+w];
      if (v > best || isnan(v)) {
        best = v;
        bi = (long)h*W+w;
      }
    }
  }
  y[(gid.z*OH+gid.y)*OW+gid.x] = best;
  ind[(gid.z*OH+gid.y)*OW+gid.x] = bi;
}
