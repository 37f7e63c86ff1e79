// Products of a matrix and a vector: y = activation(matrix x + bias) + residual, bound by reading
// the matrix once.
#include <metal_stdlib>

#include "epilogue.h"
#include "instances.h"
#include "vectors.h"

using namespace metal;

constant bool has_bias [[function_constant(0)]];
constant bool has_residual [[function_constant(1)]];

struct GemvShape {
  uint count, length;             // results, terms of each
  uint pitch;                     // elements from one stored line of the matrix to the next
  uint step;                      // elements from one entry of x to the next
  uint inner;                     // batches are numbered outer * inner + i
  int activation;
  uint bias_step;                 // bias[i * bias_step]
  ulong matrix_outer, matrix_inner;
  ulong vector_outer, vector_inner;
};

// As load_four, of entries that are `step` elements apart.
template <typename T>
static float4 load_apart(device const T* x, uint step, uint i, uint length) {
  if (step == 1) return load_four(x, i, length);
  float4 four = 0;
  for (uint j = 0; j < 4; ++j) four[j] = i + j < length ? float(x[size_t(i + j) * step]) : 0.0f;
  return four;
}

// The matrix's lines are its rows: a SIMD-group adds up `rows` of them, lanes side by side along
// each. Threadgroups: (ceil(count / (rows * simdgroups)), batch), any number of SIMD-groups.
template <typename T, uint rows>
kernel void gemv_rows(device const T* matrix    [[buffer(0)]],
                      device const T* x         [[buffer(1)]],
                      device const T* bias      [[buffer(2), function_constant(has_bias)]],
                      device const T* residual  [[buffer(3), function_constant(has_residual)]],
                      device T* y               [[buffer(4)]],
                      constant GemvShape& shape [[buffer(5)]],
                      uint2 group               [[threadgroup_position_in_grid]],
                      uint simdgroup            [[simdgroup_index_in_threadgroup]],
                      uint simdgroups           [[simdgroups_per_threadgroup]],
                      uint lane                 [[thread_index_in_simdgroup]]) {
  const uint first = (group.x * simdgroups + simdgroup) * rows;
  matrix += group.y / shape.inner * shape.matrix_outer + group.y % shape.inner * shape.matrix_inner;
  x += group.y / shape.inner * shape.vector_outer + group.y % shape.inner * shape.vector_inner;
  float sums[rows] = {};
  for (uint i = lane * 4; i < shape.length; i += 32 * 4) {
    const float4 right = load_apart(x, shape.step, i, shape.length);
    for (uint r = 0; r < rows; ++r) {
      const uint row = min(first + r, shape.count - 1);  // what lies beyond is computed and dropped
      const float4 left = load_four(matrix + size_t(row) * shape.pitch, i, shape.length);
      for (uint j = 0; j < 4; ++j) sums[r] = fma(left[j], right[j], sums[r]);
    }
  }
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  for (uint r = 0; r < rows; ++r) {
    const float sum = simd_sum(sums[r]);
    const uint row = first + r;
    const size_t index = size_t(group.y) * shape.count + row;
    if (lane == 0 && row < shape.count) y[index] = epilogue(sum, row * shape.bias_step, index);
  }
}

// The matrix's lines are its columns: a thread has four neighbouring results, the SIMD-groups take
// turns at the lines and add up what they found. Threadgroups: (ceil(count / 128), batch) of 32 x
// simdgroups threads.
template <typename T, uint simdgroups>
kernel void gemv_columns(device const T* matrix    [[buffer(0)]],
                         device const T* x         [[buffer(1)]],
                         device const T* bias      [[buffer(2), function_constant(has_bias)]],
                         device const T* residual  [[buffer(3), function_constant(has_residual)]],
                         device T* y               [[buffer(4)]],
                         constant GemvShape& shape [[buffer(5)]],
                         uint2 group               [[threadgroup_position_in_grid]],
                         uint simdgroup            [[simdgroup_index_in_threadgroup]],
                         uint lane                 [[thread_index_in_simdgroup]]) {
  threadgroup float4 partial[simdgroups * 32];
  const uint first = group.x * 128 + lane * 4;
  matrix += group.y / shape.inner * shape.matrix_outer + group.y % shape.inner * shape.matrix_inner;
  x += group.y / shape.inner * shape.vector_outer + group.y % shape.inner * shape.vector_inner;
  float4 sum = 0;
  for (uint i = simdgroup; i < shape.length; i += simdgroups) {
    const float right = float(x[size_t(i) * shape.step]);
    const float4 left = load_four(matrix + size_t(i) * shape.pitch, first, shape.count);
    for (uint j = 0; j < 4; ++j) sum[j] = fma(left[j], right, sum[j]);
  }
  partial[simdgroup * 32 + lane] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // the sums of all SIMD-groups are there
  if (simdgroup != 0) return;
  for (uint s = 1; s < simdgroups; ++s) sum += partial[s * 32 + lane];
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  for (uint j = 0; j < 4 && first + j < shape.count; ++j) {
    const size_t index = size_t(group.y) * shape.count + first + j;
    y[index] = epilogue(sum[j], (first + j) * shape.bias_step, index);
  }
}

#define instantiate_rows(name, T, variant, rows)                          \
  template [[host_name("gemv_rows_" name "_" variant)]] kernel            \
      decltype(gemv_rows<T, rows>) gemv_rows<T, rows>;
#define instantiate_columns(name, T, variant, simdgroups)                 \
  template [[host_name("gemv_columns_" name "_" variant)]] kernel         \
      decltype(gemv_columns<T, simdgroups>) gemv_columns<T, simdgroups>;

for_each_gemv_rows(instantiate_rows, "float32", float)
for_each_gemv_rows(instantiate_rows, "float16", half)
for_each_gemv_rows(instantiate_rows, "bfloat16", bfloat)
for_each_gemv_columns(instantiate_columns, "float32", float)
for_each_gemv_columns(instantiate_columns, "float16", half)
for_each_gemv_columns(instantiate_columns, "bfloat16", bfloat)
