// Threadgroup variables wherever Metal allows them: kernels, templates, blocks, device functions.
#include <metal_stdlib>
using namespace metal;

struct Pair {
  float first;
  float second;
};

// Two instantiations have storage of their own; two calls of one share it.
template <typename T, int N>
T rotate_through(T value, uint i, uint by) {
  threadgroup T ring[N];
  ring[i % N] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  T result = ring[(i + by) % N];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return result;
}

static float last_written(float value, bool writes) {
  threadgroup float kept;
  if (writes) kept = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return kept;
}

kernel void storage(device const float* x [[buffer(0)]],
                    device float* y       [[buffer(1)]],
                    uint i                [[thread_position_in_threadgroup]]) {
  threadgroup float row[32], grid[4][8];
  threadgroup Pair pairs[32];
  row[i] = x[i];
  grid[i / 8][i % 8] = 2 * x[i];
  pairs[i].first = row[i];
  pairs[i].second = grid[i / 8][i % 8];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const uint other = 31 - i;
  y[i] = row[other] + grid[other / 8][other % 8] + pairs[other].first + pairs[other].second;
  y[32 + i] = rotate_through<float, 32>(x[i], i, 1);
  y[64 + i] = rotate_through<int, 32>(int(i), i, 5);
  last_written(x[3], i == 0);
  y[96 + i] = last_written(0, false);
  switch (i) {
    case 0: {
      threadgroup float inner[4];
      for (uint k = 0; k < 4; ++k) inner[k] = k;
      y[128] = inner[1] + inner[3];
      break;
    }
    default: break;
  }
}
