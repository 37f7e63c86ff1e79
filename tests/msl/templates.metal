// What only templates and repairs make legal: casts between 16-bit floats, components of dependent
// vectors, limits and indices that are expressions.
#include <metal_stdlib>
using namespace metal;

enum Buffers { kInput = 2, kOutput = 1 };
constant constexpr int kExtra = 4;

template <typename T, typename U>
T converted(U x) {
  return static_cast<T>(x) + T(x) + (T)x;
}

template <typename T, int N>
vec<T, 2> stepped(vec<T, 2> v, T by) {
  for (int i = 0; i < N; ++i) {
    v.x += T(i) * by;
    v.y -= by;
  }
  return v;
}

template <typename T, int W, int H>
[[kernel, max_total_threads_per_threadgroup(W * H * 32)]] void limited(
    device T* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  out[i] = T(W + H);
}
template [[host_name("limited_float_2_4")]] [[kernel]] decltype(limited<float, 2, 4>) limited<float, 2, 4>;

kernel void expressions(device const half* x [[buffer(kInput)]],
                        device bfloat* y     [[buffer(kOutput)]],
                        device float* z      [[buffer(kExtra + 1)]],
                        constant float (&w)[3] [[buffer(0)]],
                        device float* free,
                        uint i [[thread_position_in_grid]]) {
  y[i] = converted<bfloat>(x[i]);
  const float2 v = stepped<float, 3>(float2(1, 2), 0.5f);
  z[0] = v.x + v.y;
  free[0] = w[0] + w[2];
}
