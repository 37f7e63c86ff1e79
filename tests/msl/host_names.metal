// Every way to name a kernel for the host.
#include <metal_stdlib>
using namespace metal;

#define instantiate_kernel(name, func, ...) \
  template [[host_name(name)]] [[kernel]] decltype(func<__VA_ARGS__>) func<__VA_ARGS__>;

template <typename T, int N = 1>
[[kernel, max_total_threads_per_threadgroup(256)]] void fill(device T* out [[buffer(0)]],
                                                             constant T& value [[buffer(1)]],
                                                             uint i [[thread_position_in_grid]]) {
  for (int k = 0; k < N; ++k) out[i * N + k] = value + T(k);
}

instantiate_kernel("fill_" "float", fill, float)
instantiate_kernel("fill_half_4", fill, half, 4)
template [[host_name("fill_int")]] kernel void fill<int>(device int*, constant int&, uint);
template [[host_name("fill_uchar4")]] [[kernel]] void fill<uchar4, 2>(device uchar4* out [[buffer(0)]],
                                                                     constant uchar4& value [[buffer(1)]],
                                                                     uint i [[thread_position_in_grid]]);

[[host_name("renamed")]] kernel void original(device float* out, uint i [[thread_position_in_grid]]) {
  out[i] = 1;
}

namespace one::two {
kernel void nested(device float* out, uint i [[thread_position_in_grid]]) { out[i] = 2; }
}  // namespace one::two

#define DEFINE(NAME, VALUE)                                                              \
  kernel void NAME(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]]) { \
    out[i] = VALUE;                                                                      \
  }
DEFINE(three, 3)
DEFINE(four, 4)

kernel void declared(device float* out, uint i [[thread_position_in_grid]]);
kernel void declared(device float* out, uint i [[thread_position_in_grid]]) { out[i] = 5; }
