// Log-softmax by a tree reduction over function objects.
#include <metal_stdlib>
using namespace metal;

template <typename F> float reduce(float v, threadgroup float* s, uint t, uint n, F op) {
  s[t] = v;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint k = n/2; k > 0; k /= 2) {
    if (t < k) s[t] = op(s[t], s[t+k]);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  float r = s[0];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return r;
}
struct Max {
  float operator()(float a, float b) const {
    return max(a, b);
  }
};
struct Add {
  template <typename T> T operator()(T a, T b) const thread {
    return a + b;
  }
};
kernel void f(
    device const float* x,
    device float* y,
    uint t [[thread_position_in_threadgroup]],
    uint n [[threads_per_threadgroup]]) {
  threadgroup float s[128];
  float m = reduce(x[t], s, t, n, Max());
  float d = reduce(exp(x[t]-m), s, t, n, Add{});
  y[t] = x[t] - m - log(d);
}
