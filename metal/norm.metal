// Normalisation of rows of any length, one threadgroup per row; weight and bias may be left out.
#include <metal_stdlib>

#include "reduce.h"

using namespace metal;

constant bool has_weight [[function_constant(0)]];
constant bool has_bias [[function_constant(1)]];

// y[row][i] = x[row][i] / sqrt(mean_j x[row][j]^2 + epsilon) * weight[i]
// (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
template <typename T>
kernel void rms_norm(device const T* x      [[buffer(0)]],
                     device const T* weight [[buffer(1), function_constant(has_weight)]],
                     device T*       y      [[buffer(2)]],
                     constant uint&  columns [[buffer(3)]],
                     constant float& epsilon [[buffer(4)]],
                     uint row        [[threadgroup_position_in_grid]],
                     uint thread_id  [[thread_position_in_threadgroup]],
                     uint threads    [[threads_per_threadgroup]],
                     uint lane       [[thread_index_in_simdgroup]],
                     uint simdgroup  [[simdgroup_index_in_threadgroup]],
                     uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  x += size_t(row) * columns;
  y += size_t(row) * columns;

  float squares = 0;
  for (uint i = thread_id; i < columns; i += threads) {
    const float value = float(x[i]);
    squares = fma(value, value, squares);
  }
  const float mean = threadgroup_sum(squares, partial, place) / float(columns);
  const float scale = precise::rsqrt(mean + epsilon);
  for (uint i = thread_id; i < columns; i += threads) {
    const float value = float(x[i]) * scale;
    y[i] = T(has_weight ? value * float(weight[i]) : value);
  }
}

// y[row][i] = (x[row][i] - mean) / sqrt(variance + epsilon) * weight[i] + bias[i], with the mean and the biased
// variance of the row (Ba, Kiros and Hinton, "Layer Normalization", 2016). The variance is taken about the mean in a second
// pass: the difference of mean square and squared mean would cancel.
template <typename T>
kernel void layer_norm(device const T* x      [[buffer(0)]],
                       device const T* weight [[buffer(1), function_constant(has_weight)]],
                       device const T* bias   [[buffer(2), function_constant(has_bias)]],
                       device T*       y      [[buffer(3)]],
                       constant uint&  columns [[buffer(4)]],
                       constant float& epsilon [[buffer(5)]],
                       uint row        [[threadgroup_position_in_grid]],
                       uint thread_id  [[thread_position_in_threadgroup]],
                       uint threads    [[threads_per_threadgroup]],
                       uint lane       [[thread_index_in_simdgroup]],
                       uint simdgroup  [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  x += size_t(row) * columns;
  y += size_t(row) * columns;

  float sum = 0;
  for (uint i = thread_id; i < columns; i += threads) sum += float(x[i]);
  const float mean = threadgroup_sum(sum, partial, place) / float(columns);

  float squares = 0;
  for (uint i = thread_id; i < columns; i += threads) {
    const float difference = float(x[i]) - mean;
    squares = fma(difference, difference, squares);
  }
  const float variance = threadgroup_sum(squares, partial, place) / float(columns);
  const float scale = precise::rsqrt(variance + epsilon);
  for (uint i = thread_id; i < columns; i += threads) {
    float value = (float(x[i]) - mean) * scale;
    if (has_weight) value *= float(weight[i]);
    if (has_bias) value += float(bias[i]);
    y[i] = T(value);
  }
}

#define instantiate_norms(name, T)                                                                 \
  template [[host_name("rms_norm_" name)]] kernel decltype(rms_norm<T>) rms_norm<T>;               \
  template [[host_name("layer_norm_" name)]] kernel decltype(layer_norm<T>) layer_norm<T>;

instantiate_norms("float32", float)
instantiate_norms("float16", half)
instantiate_norms("bfloat16", bfloat)
