// Matrix product with what usually follows it: c = activation(a b + bias).
#include <metal_stdlib>

#include "activation.h"

using namespace metal;

constant bool a_transposed [[function_constant(0)]];  // a is stored as k rows of m
constant bool b_transposed [[function_constant(1)]];  // b is stored as n rows of k
constant bool has_bias [[function_constant(2)]];
constant int activation [[function_constant(3)]];

struct GemmShape {
  uint m, n, k;
  uint lda, ldb;            // elements from one stored row to the next
  ulong batch_a, batch_b;  // elements from one matrix to the next, 0 where all share one
};

// A threadgroup computes a 64 x 64 tile of c in steps of 16 along k; its four SIMD-groups have a quarter of 32 x 32 each,
// held as 4 x 4 SIMD-group matrices. Tiles of a and b are widened to float on their way into threadgroup memory, and the results
// go back through it so that whole rows are written and the edges of c cost nothing.
constant constexpr uint kTile = 64;
constant constexpr uint kStep = 16;
constant constexpr uint kThreads = 128;
constant constexpr uint kPad = 4;  // keeps rows of a tile on different banks

// Copies rows x columns elements of a stored matrix, from (first_row, first_column) on, to a tile with `pitch`
// elements a row; zeros stand in for what lies beyond the matrix.
template <typename T, uint rows, uint columns, uint pitch>
static void load_tile(threadgroup float* tile, device const T* matrix, uint ld, uint first_row, uint first_column,
                      uint end_row, uint end_column, uint thread_id) {
  for (uint i = thread_id; i < rows * columns; i += kThreads) {
    const uint row = i / columns, column = i % columns;
    const uint y = first_row + row, x = first_column + column;
    tile[row * pitch + column] = y < end_row && x < end_column ? float(matrix[size_t(y) * ld + x]) : 0.0f;
  }
}

template <typename T>
kernel void gemm(device const T* a    [[buffer(0)]],
                 device const T* b    [[buffer(1)]],
                 device const T* bias [[buffer(2), function_constant(has_bias)]],
                 device T*       c    [[buffer(3)]],
                 constant GemmShape& shape [[buffer(4)]],
                 uint3 tile      [[threadgroup_position_in_grid]],
                 uint  thread_id [[thread_index_in_threadgroup]],
                 uint  simdgroup [[simdgroup_index_in_threadgroup]]) {
  constexpr uint pitch_k = kStep + kPad, pitch_n = kTile + kPad;
  threadgroup float tile_a[kTile * pitch_k > kStep * pitch_n ? kTile * pitch_k : kStep * pitch_n];
  threadgroup float tile_b[kTile * pitch_k > kStep * pitch_n ? kTile * pitch_k : kStep * pitch_n];
  threadgroup float results[kTile * 32];
  const uint first_row = tile.y * kTile, first_column = tile.x * kTile;
  const uint row = simdgroup / 2 * 32, column = simdgroup % 2 * 32;  // of this SIMD-group's quarter
  a += tile.z * shape.batch_a;
  b += tile.z * shape.batch_b;
  c += size_t(tile.z) * shape.m * shape.n;

  simdgroup_float8x8 sums[4][4];
  for (uint i = 0; i < 4; ++i) {
    for (uint j = 0; j < 4; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  for (uint k = 0; k < shape.k; k += kStep) {
    if (a_transposed) {
      load_tile<T, kStep, kTile, pitch_n>(tile_a, a, shape.lda, k, first_row, shape.k, shape.m, thread_id);
    } else {
      load_tile<T, kTile, kStep, pitch_k>(tile_a, a, shape.lda, first_row, k, shape.m, shape.k, thread_id);
    }
    if (b_transposed) {
      load_tile<T, kTile, kStep, pitch_k>(tile_b, b, shape.ldb, first_column, k, shape.n, shape.k, thread_id);
    } else {
      load_tile<T, kStep, kTile, pitch_n>(tile_b, b, shape.ldb, k, first_column, shape.k, shape.n, thread_id);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles are complete
    for (uint step = 0; step < kStep; step += 8) {
      simdgroup_float8x8 left[4], right[4];
      for (uint i = 0; i < 4; ++i) {
        if (a_transposed) {
          simdgroup_load(left[i], tile_a + step * pitch_n + row + i * 8, pitch_n, ulong2(0), true);
        } else {
          simdgroup_load(left[i], tile_a + (row + i * 8) * pitch_k + step, pitch_k);
        }
        if (b_transposed) {
          simdgroup_load(right[i], tile_b + (column + i * 8) * pitch_k + step, pitch_k, ulong2(0), true);
        } else {
          simdgroup_load(right[i], tile_b + step * pitch_n + column + i * 8, pitch_n);
        }
      }
      for (uint i = 0; i < 4; ++i) {
        for (uint j = 0; j < 4; ++j) simdgroup_multiply_accumulate(sums[i][j], left[i], right[j], sums[i][j]);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles have been read
  }

  for (uint half_tile = 0; half_tile < 2; ++half_tile) {  // columns 0 to 31, then 32 to 63
    if (simdgroup % 2 == half_tile) {
      for (uint i = 0; i < 4; ++i) {
        for (uint j = 0; j < 4; ++j) simdgroup_store(sums[i][j], results + (row + i * 8) * 32 + j * 8, 32);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // 64 rows of 32 results are complete
    for (uint i = thread_id; i < kTile * 32; i += kThreads) {
      const uint y = first_row + i / 32, x = first_column + half_tile * 32 + i % 32;
      if (y < shape.m && x < shape.n) {
        const float sum = has_bias ? results[i] + float(bias[x]) : results[i];
        c[size_t(y) * shape.n + x] = T(activate(sum, activation));
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // they have been read
  }
}

template [[host_name("gemm_float32")]] kernel decltype(gemm<float>) gemm<float>;
template [[host_name("gemm_float16")]] kernel decltype(gemm<half>) gemm<half>;
template [[host_name("gemm_bfloat16")]] kernel decltype(gemm<bfloat>) gemm<bfloat>;
