// gemm.metal in OpenCL C: d = a b for square matrices, tiles of 64 × 64, 4 × 4 results a work-item.
#define TILE 64
#define DEPTH 16
#define THREADS 256

kernel void gemm(global const float* a, global const float* b, global float* d, uint size) {
  local float left[DEPTH][TILE], right[DEPTH][TILE];
  const uint thread_id = get_local_id(0);
  const uint first_row = get_group_id(1) * TILE, first_column = get_group_id(0) * TILE;
  const uint row = thread_id / 16 * 4, column = thread_id % 16 * 4;
  float sums[4][4] = {};
  for (uint k = 0; k < size; k += DEPTH) {
    for (uint i = thread_id; i < TILE * DEPTH; i += THREADS) {
      left[i % DEPTH][i / DEPTH] = a[(first_row + i / DEPTH) * size + k + i % DEPTH];
      right[i / TILE][i % TILE] = b[(k + i / TILE) * size + first_column + i % TILE];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint j = 0; j < DEPTH; ++j) {
      for (uint r = 0; r < 4; ++r) {
        for (uint c = 0; c < 4; ++c) sums[r][c] += left[j][row + r] * right[j][column + c];
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (uint r = 0; r < 4; ++r) {
    for (uint c = 0; c < 4; ++c) {
      d[(first_row + row + r) * size + first_column + column + c] = sums[r][c];
    }
  }
}
