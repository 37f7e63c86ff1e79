// Rotary position embedding (Su et al., "RoFormer", 2021): pairs of a head's elements turned by
// angles of their position.
#include <metal_stdlib>

using namespace metal;

constant bool is_interleaved
    [[function_constant(0)]];  // pairs (2j, 2j + 1), else (j, j + rotated / 2)

struct RopeShape {
  uint heads, length, size;                             // x is batch x heads x length x size
  uint rotated;     // leading elements that turn; the rest is copied
  uint angle_step;  // positions from one batch's angles to the next, 0 to share
  ulong batch_stride, head_stride, position_stride;     // of x; y is contiguous
};

// (a, b) becomes (a cos - b sin, a sin + b cos); a thread for each pair: (ceil(size / 2), length,
// batch * heads).
template <typename T>
kernel void rope(device const T* x         [[buffer(0)]],
                 device const T* cosine    [[buffer(1)]],
                 device const T* sine      [[buffer(2)]],
                 device T* y               [[buffer(3)]],
                 constant RopeShape& shape [[buffer(4)]],
                 uint3 place               [[thread_position_in_grid]]) {
  const uint batch = place.z / shape.heads, head = place.z % shape.heads;
  x += batch * shape.batch_stride + head * shape.head_stride + place.y * shape.position_stride;
  y += (size_t(place.z) * shape.length + place.y) * shape.size;
  const uint pairs = shape.rotated / 2, pair = place.x;
  if (pair >= pairs) {
    const uint first = shape.rotated + (pair - pairs) * 2;
    for (uint i = first; i < min(first + 2, shape.size); ++i) y[i] = x[i];
    return;
  }
  const size_t angle = (size_t(batch) * shape.angle_step + place.y) * pairs + pair;
  const float c = float(cosine[angle]), s = float(sine[angle]);
  const uint left = is_interleaved ? pair * 2 : pair;
  const uint right = is_interleaved ? left + 1 : left + pairs;
  const float a = float(x[left]), b = float(x[right]);
  y[left] = T(a * c - b * s);
  y[right] = T(a * s + b * c);
}

template [[host_name("rope_float32")]] kernel decltype(rope<float>) rope<float>;
template [[host_name("rope_float16")]] kernel decltype(rope<half>) rope<half>;
template [[host_name("rope_bfloat16")]] kernel decltype(rope<bfloat>) rope<bfloat>;
