// Normalisation of rows of any length, one threadgroup per row; weight and bias may be left out.
#include <metal_stdlib>

#include "reduce.h"
#include "vectors.h"

using namespace metal;

constant bool has_weight [[function_constant(0)]];
constant bool has_bias [[function_constant(1)]];

// Sum over the row, by all threads of the threadgroup, of (x - center)^power for power 1 or 2.
template <uint power, typename T>
static float row_sum(device const T* x, float center, uint columns, uint thread_id, uint threads,
                     threadgroup float* partial, Place place) {
  float sum = 0;
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    float4 values = load_four(x, i, columns, center) - center;
    if (power == 2) values *= values;
    sum += (values[0] + values[1]) + (values[2] + values[3]);
  }
  return threadgroup_sum(sum, partial, place);
}

// Where a residual is added before the norm, its sum with x is written too: what follows goes on
// from there. A thread reads only what it wrote itself, so no barrier is needed.
template <typename T>
static void add_row(device const T* x, device const T* residual, device T* total, uint columns,
                    uint thread_id, uint threads) {
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    store_four(total, i, columns, load_four(x, i, columns) + load_four(residual, i, columns));
  }
}

template <typename T>
static void rms_norm_row(device const T* x, device const T* weight, device T* y, uint columns,
                         float epsilon, uint thread_id, uint threads, threadgroup float* partial,
                         Place place) {
  const float squares = row_sum<2>(x, 0.0f, columns, thread_id, threads, partial, place);
  const float scale = precise::rsqrt(squares / float(columns) + epsilon);
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    float4 values = load_four(x, i, columns) * scale;
    if (has_weight) values *= load_four(weight, i, columns);
    store_four(y, i, columns, values);
  }
}

// y[row][i] = x[row][i] / sqrt(mean_j x[row][j]^2 + epsilon) * weight[i]
// (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
template <typename T>
kernel void rms_norm(device const T* x       [[buffer(0)]],
                     device const T* weight  [[buffer(1), function_constant(has_weight)]],
                     device T* y             [[buffer(2)]],
                     constant uint& columns  [[buffer(3)]],
                     constant float& epsilon [[buffer(4)]],
                     uint row                [[threadgroup_position_in_grid]],
                     uint thread_id          [[thread_position_in_threadgroup]],
                     uint threads            [[threads_per_threadgroup]],
                     uint lane               [[thread_index_in_simdgroup]],
                     uint simdgroup          [[simdgroup_index_in_threadgroup]],
                     uint simdgroups         [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  x += size_t(row) * columns;
  y += size_t(row) * columns;

  rms_norm_row(x, weight, y, columns, epsilon, thread_id, threads, partial, place);
}

template <typename T>
static void layer_norm_row(device const T* x, device const T* weight, device const T* bias,
                           device T* y, uint columns, float epsilon, uint thread_id, uint threads,
                           threadgroup float* partial, Place place) {
  const float mean =
      row_sum<1>(x, 0.0f, columns, thread_id, threads, partial, place) / float(columns);
  const float squares = row_sum<2>(x, mean, columns, thread_id, threads, partial, place);
  const float scale = precise::rsqrt(squares / float(columns) + epsilon);
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    float4 values = (load_four(x, i, columns) - mean) * scale;
    if (has_weight) values *= load_four(weight, i, columns);
    if (has_bias) values += load_four(bias, i, columns);
    store_four(y, i, columns, values);
  }
}

// y[row][i] = (x[row][i] - mean) / sqrt(variance + epsilon) * weight[i] + bias[i], with the mean
// and the biased variance of the row (Ba, Kiros and Hinton, "Layer Normalization", 2016). The
// variance is taken about the mean in a second pass: the difference of mean square and squared mean
// would cancel.
template <typename T>
kernel void layer_norm(device const T* x       [[buffer(0)]],
                       device const T* weight  [[buffer(1), function_constant(has_weight)]],
                       device const T* bias    [[buffer(2), function_constant(has_bias)]],
                       device T* y             [[buffer(3)]],
                       constant uint& columns  [[buffer(4)]],
                       constant float& epsilon [[buffer(5)]],
                       uint row                [[threadgroup_position_in_grid]],
                       uint thread_id          [[thread_position_in_threadgroup]],
                       uint threads            [[threads_per_threadgroup]],
                       uint lane               [[thread_index_in_simdgroup]],
                       uint simdgroup          [[simdgroup_index_in_threadgroup]],
                       uint simdgroups         [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  x += size_t(row) * columns;
  y += size_t(row) * columns;

  layer_norm_row(x, weight, bias, y, columns, epsilon, thread_id, threads, partial, place);
}

// As rms_norm, of total = x + residual.
template <typename T>
kernel void add_rms_norm(
    device const T* x        [[buffer(0)]],
    device const T* residual [[buffer(1)]],
    device const T* weight   [[buffer(2), function_constant(has_weight)]],
    device T* total          [[buffer(3)]],
    device T* y              [[buffer(4)]],
    constant uint& columns   [[buffer(5)]],
    constant float& epsilon  [[buffer(6)]],
    uint row                [[threadgroup_position_in_grid]],
    uint thread_id          [[thread_position_in_threadgroup]],
    uint threads            [[threads_per_threadgroup]],
    uint lane               [[thread_index_in_simdgroup]],
    uint simdgroup          [[simdgroup_index_in_threadgroup]],
    uint simdgroups         [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  const size_t start = size_t(row) * columns;
  total += start;
  add_row(x + start, residual + start, total, columns, thread_id, threads);
  rms_norm_row<T>(total, weight, y + start, columns, epsilon, thread_id, threads, partial, place);
}

// As layer_norm, of total = x + residual.
template <typename T>
kernel void add_layer_norm(
    device const T* x        [[buffer(0)]],
    device const T* residual [[buffer(1)]],
    device const T* weight   [[buffer(2), function_constant(has_weight)]],
    device const T* bias     [[buffer(3), function_constant(has_bias)]],
    device T* total          [[buffer(4)]],
    device T* y              [[buffer(5)]],
    constant uint& columns   [[buffer(6)]],
    constant float& epsilon  [[buffer(7)]],
    uint row                [[threadgroup_position_in_grid]],
    uint thread_id          [[thread_position_in_threadgroup]],
    uint threads            [[threads_per_threadgroup]],
    uint lane               [[thread_index_in_simdgroup]],
    uint simdgroup          [[simdgroup_index_in_threadgroup]],
    uint simdgroups         [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  const size_t start = size_t(row) * columns;
  total += start;
  add_row(x + start, residual + start, total, columns, thread_id, threads);
  layer_norm_row<T>(total, weight, bias, y + start, columns, epsilon, thread_id, threads, partial,
                 place);
}

// As layer_norm, with the channels of a group as a row and one weight and bias for each channel (Wu
// and He, "Group Normalization", 2018): channel c of the group has elements c * inner to (c + 1) *
// inner - 1.
template <typename T>
kernel void group_norm(device const T* x       [[buffer(0)]],
                       device const T* weight  [[buffer(1), function_constant(has_weight)]],
                       device const T* bias    [[buffer(2), function_constant(has_bias)]],
                       device T* y             [[buffer(3)]],
                       constant uint& channels [[buffer(4)]],  // of a group
                       constant uint& inner    [[buffer(5)]],  // elements of a channel
                       constant uint& groups   [[buffer(6)]],
                       constant float& epsilon [[buffer(7)]],
                       uint row                [[threadgroup_position_in_grid]],
                       uint thread_id          [[thread_position_in_threadgroup]],
                       uint threads            [[threads_per_threadgroup]],
                       uint lane               [[thread_index_in_simdgroup]],
                       uint simdgroup          [[simdgroup_index_in_threadgroup]],
                       uint simdgroups         [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  const uint columns = channels * inner;
  const uint first_channel = row % groups * channels;
  x += size_t(row) * columns;
  y += size_t(row) * columns;

  const float mean =
      row_sum<1>(x, 0.0f, columns, thread_id, threads, partial, place) / float(columns);
  const float squares = row_sum<2>(x, mean, columns, thread_id, threads, partial, place);
  const float scale = precise::rsqrt(squares / float(columns) + epsilon);
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    float4 values = (load_four(x, i, columns) - mean) * scale;
    for (uint j = 0; j < 4 && i + j < columns; ++j) {
      const uint channel = first_channel + (i + j) / inner;
      if (has_weight) values[j] *= float(weight[channel]);
      if (has_bias) values[j] += float(bias[channel]);
    }
    store_four(y, i, columns, values);
  }
}

// Mean and biased variance of each channel over images and positions, one threadgroup per channel:
// what batch_norm normalises with while it trains (Ioffe and Szegedy, "Batch Normalization", 2015).
template <typename T>
kernel void batch_statistics(
    device const T* x       [[buffer(0)]],
    device float* mean      [[buffer(1)]],
    device float* variance  [[buffer(2)]],
    constant uint& images   [[buffer(3)]],
    constant uint& channels [[buffer(4)]],
    constant uint& inner    [[buffer(5)]],  // elements of a channel of an image
    uint channel            [[threadgroup_position_in_grid]],
    uint thread_id          [[thread_position_in_threadgroup]],
    uint threads            [[threads_per_threadgroup]],
    uint lane               [[thread_index_in_simdgroup]],
    uint simdgroup          [[simdgroup_index_in_threadgroup]],
    uint simdgroups         [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  const float count = float(images) * float(inner);
  float center = 0, spread = 0;
  for (uint pass = 0; pass < 2; ++pass) {  // the mean, then the squares about it
    float sum = 0;
    for (uint image = 0; image < images; ++image) {
      device const T* plane = x + (size_t(image) * channels + channel) * inner;
      for (uint i = thread_id; i < inner; i += threads) {
        const float difference = float(plane[i]) - center;
        sum += pass == 0 ? difference : difference * difference;
      }
    }
    const float average = threadgroup_sum(sum, partial, place) / count;
    if (pass == 0) center = average; else spread = average;
  }
  if (thread_id == 0) {
    mean[channel] = center;
    variance[channel] = spread;
  }
}

// y = (x - mean[c]) / sqrt(variance[c] + epsilon) * weight[c] + bias[c], a thread for each four
// elements of a plane: (ceil(inner / 4), images * channels). S is the statistics' type.
template <typename T, typename S>
kernel void batch_norm(device const T* x        [[buffer(0)]],
                       device const S* mean     [[buffer(1)]],
                       device const S* variance [[buffer(2)]],
                       device const T* weight   [[buffer(3), function_constant(has_weight)]],
                       device const T* bias     [[buffer(4), function_constant(has_bias)]],
                       device T* y              [[buffer(5)]],
                       constant uint& channels  [[buffer(6)]],
                       constant uint& inner     [[buffer(7)]],
                       constant float& epsilon  [[buffer(8)]],
                       uint2 place              [[thread_position_in_grid]]) {
  const uint channel = place.y % channels;
  const float scale = precise::rsqrt(float(variance[channel]) + epsilon);
  float4 values = load_four(x + size_t(place.y) * inner, place.x * 4, inner);
  values = (values - float(mean[channel])) * scale;
  if (has_weight) values *= float(weight[channel]);
  if (has_bias) values += float(bias[channel]);
  store_four(y + size_t(place.y) * inner, place.x * 4, inner, values);
}

#define instantiate(kernel_name, name, ...)            \
  template [[host_name(#kernel_name "_" name)]] kernel \
      decltype(kernel_name<__VA_ARGS__>) kernel_name<__VA_ARGS__>;
#define instantiate_norms(name, T)         \
  instantiate(rms_norm, name, T)           \
  instantiate(layer_norm, name, T)         \
  instantiate(add_rms_norm, name, T)       \
  instantiate(add_layer_norm, name, T)     \
  instantiate(group_norm, name, T)         \
  instantiate(batch_statistics, name, T)   \
  instantiate(batch_norm, name, T, T)

instantiate_norms("float32", float)
instantiate_norms("float16", half)
instantiate_norms("bfloat16", bfloat)
instantiate(batch_norm, "float16_float32", half, float)
instantiate(batch_norm, "bfloat16_float32", bfloat, float)
