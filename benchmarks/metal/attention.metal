// Attention over heads of 64: a thread for each query, keys and values in blocks through threadgroup memory.
#include <metal_stdlib>
using namespace metal;

#define WIDTH 64
#define BLOCK 32
#define THREADS 64

kernel void attention(device const float* q [[buffer(0)]], device const float* k [[buffer(1)]],
                      device const float* v [[buffer(2)]], device float* y [[buffer(3)]],
                      constant uint& length [[buffer(4)]], constant float& scale [[buffer(5)]],
                      uint2 place [[thread_position_in_grid]],
                      uint thread_id [[thread_index_in_threadgroup]]) {
  threadgroup float keys[BLOCK * WIDTH], values[BLOCK * WIDTH];
  const uint row = place.x, head = place.y;
  q += size_t(head) * length * WIDTH;
  k += size_t(head) * length * WIDTH;
  v += size_t(head) * length * WIDTH;
  y += size_t(head) * length * WIDTH;
  float query[WIDTH], sums[WIDTH];
  for (uint i = 0; i < WIDTH; ++i) {
    query[i] = q[row * WIDTH + i] * scale;
    sums[i] = 0;
  }
  float largest = -INFINITY, total = 0;
  for (uint first = 0; first < length; first += BLOCK) {
    for (uint i = thread_id; i < BLOCK * WIDTH; i += THREADS) {
      keys[i] = k[first * WIDTH + i];
      values[i] = v[first * WIDTH + i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint key = 0; key < BLOCK; ++key) {
      float score = 0;
      for (uint i = 0; i < WIDTH; ++i) score += query[i] * keys[key * WIDTH + i];
      const float before = largest;
      largest = max(largest, score);
      const float factor = exp(before - largest), weight = exp(score - largest);
      total = total * factor + weight;
      for (uint i = 0; i < WIDTH; ++i) sums[i] = sums[i] * factor + weight * values[key * WIDTH + i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint i = 0; i < WIDTH; ++i) y[row * WIDTH + i] = sums[i] / total;
}
