// Products with weights of 8 or 4 bits: y = activation(x w^T + bias) + residual,
// w[o][i] = scale q[o][i] + offset. q is unsigned; every `group` neighbours of a row share scale
// and offset. Rows are packed from the low bits of each byte up: 4-bit element 2i is in the low
// half of byte i, 2i + 1 in the high half.
#include <metal_stdlib>

#include "epilogue.h"
#include "instances.h"
#include "tiles.h"
#include "vectors.h"

using namespace metal;

constant bool has_bias [[function_constant(0)]];
constant bool has_residual [[function_constant(1)]];

struct QuantizedShape {
  uint m, n, k;      // x is m x k, w is n x k
  uint group;        // elements that share a scale, a multiple of 8 that divides k
  int activation;
};

// Elements i to i + 3 of a row of packed weights, i a multiple of 4.
template <uint bits>
static float4 unpack_four(device const uchar* row, uint i) {
  if (bits == 8) return float4(uchar4(*(device const packed_uchar4*)(row + i)));
  const uchar2 pair = uchar2(*(device const packed_uchar2*)(row + i / 2));
  return float4(pair[0] & 15, pair[0] >> 4, pair[1] & 15, pair[1] >> 4);
}

// A few rows of x: a SIMD-group has `outputs` results of one row and reads their weights side by
// side. Threadgroups: (ceil(n / (outputs * simdgroups)), m).
template <typename T, uint bits, uint outputs>
kernel void quantized_gemv(
    device const T* x              [[buffer(0)]],
    device const uchar* weight     [[buffer(1)]],
    device const T* scales         [[buffer(2)]],
    device const T* offsets        [[buffer(3)]],
    device const T* bias           [[buffer(4), function_constant(has_bias)]],
    device const T* residual       [[buffer(5), function_constant(has_residual)]],
    device T* y                    [[buffer(6)]],
    constant QuantizedShape& shape [[buffer(7)]],
    uint2 group                    [[threadgroup_position_in_grid]],
    uint simdgroup                 [[simdgroup_index_in_threadgroup]],
    uint simdgroups                [[simdgroups_per_threadgroup]],
    uint lane                      [[thread_index_in_simdgroup]]) {
  const uint first = (group.x * simdgroups + simdgroup) * outputs;
  const uint groups = shape.k / shape.group;
  x += size_t(group.y) * shape.k;
  float sums[outputs] = {};
  for (uint i = lane * 4; i < shape.k; i += 32 * 4) {
    const float4 left = load_four(x, i, shape.k);
    const float total = (left[0] + left[1]) + (left[2] + left[3]);
    for (uint o = 0; o < outputs; ++o) {
      const size_t row = min(first + o, shape.n - 1);  // what lies beyond is computed and dropped
      const size_t shared = row * groups + i / shape.group;
      const float4 q = unpack_four<bits>(weight + row * (shape.k * bits / 8), i);
      // sum of x (scale q + offset) = scale (sum of x q) + offset (sum of x)
      sums[o] += float(scales[shared]) * dot(left, q) + float(offsets[shared]) * total;
    }
  }
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  for (uint o = 0; o < outputs; ++o) {
    const float sum = simd_sum(sums[o]);
    const size_t index = size_t(group.y) * shape.n + first + o;
    if (lane == 0 && first + o < shape.n) y[index] = epilogue(sum, first + o, index);
  }
}

// Copies `lines` rows of `length` weights to threadgroup memory at full width, zeros beyond the
// matrix; `turned` makes columns of them.
template <bool turned, uint bits, uint lines, uint length, uint threads, typename S, typename T>
static void load_weights(threadgroup S* tile, device const uchar* weight, device const T* scales,
                         device const T* offsets, constant QuantizedShape& shape, uint first_row,
                         uint first, uint thread_id) {
  const uint groups = shape.k / shape.group;
  for (uint i = thread_id; i < lines * (length / 4); i += threads) {
    const uint line = turned ? i % lines : i / (length / 4);
    const uint at = turned ? i / lines * 4 : i % (length / 4) * 4;
    const uint row = first_row + line, k = first + at;
    vec<S, 4> four = vec<S, 4>(0);
    if (row < shape.n && k < shape.k) {
      const size_t shared = size_t(row) * groups + k / shape.group;
      const float4 q = unpack_four<bits>(weight + size_t(row) * (shape.k * bits / 8), k);
      four = vec<S, 4>(q * float(scales[shared]) + float(offsets[shared]));
    }
    if (turned) {
      for (uint j = 0; j < 4; ++j) tile[(at + j) * (lines + 4) + line] = four[j];
    } else {
      *(threadgroup vec<S, 4>*)(tile + line * (length + 4) + at) = four;
    }
  }
}

template <typename T>
struct QuantizedWriter {
  Epilogue<T> epilogue;
  device T* y;
  uint first_row, first_column;
  uint m, n;

  void operator()(uint row, uint column, float sum) const thread {
    const uint r = first_row + row, o = first_column + column;
    if (r < m && o < n) y[size_t(r) * n + o] = epilogue(sum, o, size_t(r) * n + o);
  }
};

// Many rows of x: as gemm, weights widened on their way into threadgroup memory. Threadgroups:
// tiles of (n, m).
template <typename T, typename S, uint bits, uint rows, uint columns, uint depth, uint down,
          uint across, uint width, uint matrices>
kernel void quantized_gemm(
    device const T* x              [[buffer(0)]],
    device const uchar* weight     [[buffer(1)]],
    device const T* scales         [[buffer(2)]],
    device const T* offsets        [[buffer(3)]],
    device const T* bias           [[buffer(4), function_constant(has_bias)]],
    device const T* residual       [[buffer(5), function_constant(has_residual)]],
    device T* y                    [[buffer(6)]],
    constant QuantizedShape& shape [[buffer(7)]],
    uint2 tile                     [[threadgroup_position_in_grid]],
    uint thread_id                 [[thread_index_in_threadgroup]],
    uint simdgroup                 [[simdgroup_index_in_threadgroup]],
    uint lane                      [[thread_index_in_simdgroup]]) {
  typedef Tiling<S, rows, columns, depth, down, across, matrices> Tiles;
  typedef typename Tiles::Stage Stage;
  threadgroup vec<Stage, 4> left[Tiles::left_fours];
  threadgroup vec<Stage, 4> right[Tiles::right_fours];
  threadgroup float scratch[Tiles::scratch_size];
  threadgroup Stage* tile_x = (threadgroup Stage*)left;
  threadgroup Stage* tile_w = (threadgroup Stage*)right;
  const uint first_row = tile.y * rows, first_column = tile.x * columns;
  const Lines<T> lines = {x, shape.k, shape.m, shape.k};

  Product<Tiles> product;
  product.begin(simdgroup);
  for (uint k = 0; k < shape.k; k += depth) {
    load_tile<rows, depth, Tiles::threads, width>(tile_x, lines, first_row, k, thread_id);
    load_weights<!Tiles::matrices, bits, columns, depth, Tiles::threads>(
        tile_w, weight, scales, offsets, shape, first_column, k, thread_id);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles are complete
    add_step<Tiles>(product, tile_x, false, tile_w, true, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles have been read
  }
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  const QuantizedWriter<T> write = {epilogue, y, first_row, first_column, shape.m, shape.n};
  product.store(scratch, simdgroup, lane, write);
}

#define instantiate_gemv(name, bits, T, variant, outputs)                                       \
  template [[host_name("quantized_gemv" #bits "_" name "_" variant)]] kernel                    \
      decltype(quantized_gemv<T, bits, outputs>) quantized_gemv<T, bits, outputs>;
#define instantiate_gemm(name, bits, T, S, variant, ...)                                        \
  template [[host_name("quantized_gemm" #bits "_" name "_" variant)]] kernel                    \
      decltype(quantized_gemm<T, S, bits, __VA_ARGS__>) quantized_gemm<T, S, bits, __VA_ARGS__>;
#define instantiate_bits(bits)                                          \
  for_each_quantized_gemv(instantiate_gemv, "float32", bits, float)     \
  for_each_quantized_gemv(instantiate_gemv, "float16", bits, half)      \
  for_each_quantized_gemv(instantiate_gemv, "bfloat16", bits, bfloat)   \
  for_each_quantized_gemm(instantiate_gemm, "float32", bits, float, float)   \
  for_each_quantized_gemm(instantiate_gemm, "float16", bits, half, half)     \
  for_each_quantized_gemm(instantiate_gemm, "bfloat16", bits, bfloat, bfloat)

instantiate_bits(4)
instantiate_bits(8)
