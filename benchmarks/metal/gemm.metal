// d = a b for square matrices, tiles of 64 × 64 in threadgroup memory, 4 × 4 results a thread.
#include <metal_stdlib>
using namespace metal;

#define TILE 64
#define DEPTH 16
#define THREADS 256

kernel void gemm(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                 device float* d [[buffer(2)]], constant uint& size [[buffer(3)]],
                 uint2 group [[threadgroup_position_in_grid]],
                 uint thread_id [[thread_index_in_threadgroup]]) {
  threadgroup float left[DEPTH][TILE], right[DEPTH][TILE];
  const uint first_row = group.y * TILE, first_column = group.x * TILE;
  const uint row = thread_id / 16 * 4, column = thread_id % 16 * 4;
  float sums[4][4] = {};
  for (uint k = 0; k < size; k += DEPTH) {
    for (uint i = thread_id; i < TILE * DEPTH; i += THREADS) {
      left[i % DEPTH][i / DEPTH] = a[(first_row + i / DEPTH) * size + k + i % DEPTH];
      right[i / TILE][i % TILE] = b[(k + i / TILE) * size + first_column + i % TILE];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint j = 0; j < DEPTH; ++j) {
      for (uint r = 0; r < 4; ++r) {
        for (uint c = 0; c < 4; ++c) sums[r][c] += left[j][row + r] * right[j][column + c];
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint r = 0; r < 4; ++r) {
    for (uint c = 0; c < 4; ++c) {
      d[(first_row + row + r) * size + first_column + column + c] = sums[r][c];
    }
  }
}
