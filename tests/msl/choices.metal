// Conditional operators between values that lie in different memories.
#include <metal_stdlib>
using namespace metal;

struct Pair {
  float a;
  int b;
};

kernel void choose(device const float4* x [[buffer(0)]],
                   device float4* y       [[buffer(1)]],
                   constant float4* c     [[buffer(2)]],
                   device const Pair* p   [[buffer(3)]],
                   constant Pair& q       [[buffer(4)]],
                   uint i                 [[thread_position_in_grid]]) {
  threadgroup float4 t[4];
  t[i] = 10 * x[i];
  const float4 outside = i < 2 ? x[i] : float4(0);
  const float4 nested = i == 0 ? t[i] : i == 1 ? x[i] : c[i];
  const float4 mixed = i > 1 ? outside : x[i], first = (i > 2) ? vec<float, 4>(1) : c[i] * 2;
  const Pair pair = i == 3 ? p[i] : Pair{1, 2};
  const Pair other = i == 3 ? q : p[0];
  y[i] = max(i < 2 ? x[i] : float4(0), -1.0f);
  y[4 + i] = outside + nested + mixed + first;
  y[8 + i] = pair.a + pair.b + other.a + other.b;
}
