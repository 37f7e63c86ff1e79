// Matrix products with what usually follows them: c = activation(a b + bias) + residual.
#include <metal_stdlib>

#include "epilogue.h"
#include "instances.h"
#include "tiles.h"

using namespace metal;

constant bool a_transposed [[function_constant(0)]];  // a is stored as k lines of m
constant bool b_transposed [[function_constant(1)]];  // b is stored as n lines of k
constant bool has_bias [[function_constant(2)]];
constant bool has_residual [[function_constant(3)]];
constant bool is_split [[function_constant(4)]];  // sums of parts of k go to `parts`
constant bool is_whole = !is_split;
constant bool is_whole_with_bias = is_whole && has_bias;
constant bool is_whole_with_residual = is_whole && has_residual;

struct GemmShape {
  uint m, n, k;
  uint lda, ldb;                  // elements from one stored line to the next
  uint part;  // terms of the sum that a threadgroup adds; k unless the product is split
  uint inner;                     // batches are numbered outer * inner + i
  int activation;
  uint bias_row, bias_column;     // bias[row * bias_row + column * bias_column]
  ulong a_outer, a_inner;         // elements from one matrix to the next, 0 where all share one
  ulong b_outer, b_inner;
};

// Puts a result of a tile where it belongs, unless it lies beyond c.
template <typename T>
struct GemmWriter {
  Epilogue<T> epilogue;
  device T* c;
  device float* parts;
  uint first_row, first_column;
  size_t start;
  uint m, n;
  uint bias_row, bias_column;

  void operator()(uint row, uint column, float sum) const thread {
    const uint y = first_row + row, x = first_column + column;
    if (y >= m || x >= n) return;
    const size_t index = start + size_t(y) * n + x;
    if (is_split) {
      parts[index] = sum;
    } else {
      c[index] = epilogue(sum, y * bias_row + x * bias_column, index);
    }
  }
};

// One threadgroup for each tile of c, part of k and batch: (columns, rows, batch * parts).
// Tiles of a and b are widened to S on their way into threadgroup memory.
template <typename T, typename S, uint rows, uint columns, uint depth, uint down, uint across,
          uint width, uint matrices>
kernel void gemm(device const T* a         [[buffer(0)]],
                 device const T* b         [[buffer(1)]],
                 device const T* bias      [[buffer(2), function_constant(is_whole_with_bias)]],
                 device const T* residual  [[buffer(3), function_constant(is_whole_with_residual)]],
                 device T* c               [[buffer(4), function_constant(is_whole)]],
                 device float* parts       [[buffer(5), function_constant(is_split)]],
                 constant GemmShape& shape [[buffer(6)]],
                 uint3 tile                [[threadgroup_position_in_grid]],
                 uint thread_id            [[thread_index_in_threadgroup]],
                 uint simdgroup            [[simdgroup_index_in_threadgroup]],
                 uint lane                 [[thread_index_in_simdgroup]]) {
  typedef Tiling<S, rows, columns, depth, down, across, matrices> Tiles;
  typedef typename Tiles::Stage Stage;
  threadgroup vec<Stage, 4> left[Tiles::left_fours];
  threadgroup vec<Stage, 4> right[Tiles::right_fours];
  threadgroup float scratch[Tiles::scratch_size];
  threadgroup Stage* tile_a = (threadgroup Stage*)left;
  threadgroup Stage* tile_b = (threadgroup Stage*)right;

  const uint splits = is_split ? (shape.k + shape.part - 1) / shape.part : 1;
  const uint batch = tile.z / splits;
  const uint first = tile.z % splits * shape.part;
  const uint end = is_split ? min(first + shape.part, shape.k) : shape.k;
  const uint first_row = tile.y * rows, first_column = tile.x * columns;
  a += batch / shape.inner * shape.a_outer + batch % shape.inner * shape.a_inner;
  b += batch / shape.inner * shape.b_outer + batch % shape.inner * shape.b_inner;
  const Lines<T> lines_a = {a, shape.lda, a_transposed ? end : shape.m,
                            a_transposed ? shape.m : end};
  const Lines<T> lines_b = {b, shape.ldb, b_transposed ? shape.n : end,
                            b_transposed ? end : shape.n};

  Product<Tiles> product;
  product.begin(simdgroup);
  for (uint k = first; k < end; k += depth) {
    if (a_transposed) {
      load_tile<depth, rows, Tiles::threads, width>(tile_a, lines_a, k, first_row, thread_id);
    } else {
      load_tile<rows, depth, Tiles::threads, width>(tile_a, lines_a, first_row, k, thread_id);
    }
    if (b_transposed && !Tiles::matrices) {
      load_tile_turned<columns, depth, Tiles::threads, width>(tile_b, lines_b, first_column, k,
                                                              thread_id);
    } else if (b_transposed) {
      load_tile<columns, depth, Tiles::threads, width>(tile_b, lines_b, first_column, k, thread_id);
    } else {
      load_tile<depth, columns, Tiles::threads, width>(tile_b, lines_b, k, first_column, thread_id);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles are complete
    add_step<Tiles>(product, tile_a, a_transposed, tile_b, b_transposed, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles have been read
  }

  const size_t start = size_t(tile.z) * shape.m * shape.n;
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  const GemmWriter<T> write = {epilogue, c,       parts,   first_row,      first_column,
                               start,    shape.m, shape.n, shape.bias_row, shape.bias_column};
  product.store(scratch, simdgroup, lane, write);
}

struct SplitShape {
  uint m, n;
  uint splits;
  int activation;
  uint bias_row, bias_column;
};

// c = activation(sum of the parts + bias) + residual, one thread for each result: (n, m, batch).
template <typename T>
kernel void gemm_join(device const float* parts  [[buffer(0)]],
                      device const T* bias       [[buffer(1), function_constant(has_bias)]],
                      device const T* residual   [[buffer(2), function_constant(has_residual)]],
                      device T* c                [[buffer(3)]],
                      constant SplitShape& shape [[buffer(4)]],
                      uint3 place                [[thread_position_in_grid]]) {
  const size_t size = size_t(shape.m) * shape.n;
  const size_t within = size_t(place.y) * shape.n + place.x;
  float sum = 0;
  for (uint i = 0; i < shape.splits; ++i) {
    sum += parts[(place.z * size_t(shape.splits) + i) * size + within];
  }
  const size_t index = place.z * size + within;
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  c[index] = epilogue(sum, place.y * shape.bias_row + place.x * shape.bias_column, index);
}

#define instantiate_gemm(name, T, S, variant, ...) \
  template [[host_name("gemm_" name "_" variant)]] kernel                                        \
      decltype(gemm<T, S, __VA_ARGS__>) gemm<T, S, __VA_ARGS__>;

for_each_gemm(instantiate_gemm, "float32", float, float)
for_each_gemm(instantiate_gemm, "float16", half, half)
for_each_gemm(instantiate_gemm, "bfloat16", bfloat, bfloat)

template [[host_name("gemm_join_float32")]] kernel decltype(gemm_join<float>) gemm_join<float>;
template [[host_name("gemm_join_float16")]] kernel decltype(gemm_join<half>) gemm_join<half>;
template [[host_name("gemm_join_bfloat16")]] kernel decltype(gemm_join<bfloat>) gemm_join<bfloat>;
