// Softmax and its logarithm along rows of any length, one threadgroup per row.
#include <metal_stdlib>

#include "instances.h"
#include "reduce.h"
#include "vectors.h"

using namespace metal;

constant bool is_log [[function_constant(0)]];

// The largest of four and `largest`; NaN if any is, which max() would pass over.
static float largest_of(float4 four, float largest) {
  for (uint j = 0; j < 4; ++j) largest = four[j] > largest || isnan(four[j]) ? four[j] : largest;
  return largest;
}

static float4 exp_of(float4 x) { return precise::exp(x); }

static float sum_of(float4 x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// A row that the threads can hold, `held` fours each: read once, one exponential per element,
// written once.
template <uint held, typename T>
static void softmax_held(device const T* x, device T* y, uint columns, uint thread_id, uint threads,
                         threadgroup float* partial, Place place) {
  float4 values[held];
  float largest = -INFINITY;
  for (uint j = 0; j < held; ++j) {
    values[j] = load_four(x, (thread_id + j * threads) * 4, columns, -INFINITY);
    largest = largest_of(values[j], largest);
  }
  const float row_largest = threadgroup_max(largest, partial, place);
  float sum = isnan(largest) ? NAN : 0.0f;
  for (uint j = 0; j < held; ++j) {
    const float4 exponentials = exp_of(values[j] - row_largest);
    sum += sum_of(exponentials);
    if (!is_log) values[j] = exponentials;
  }
  const float total = threadgroup_sum(sum, partial, place);
  const float scale = 1 / total, logarithm = precise::log(total);
  for (uint j = 0; j < held; ++j) {
    store_four(y, (thread_id + j * threads) * 4, columns,
               is_log ? values[j] - row_largest - logarithm : values[j] * scale);
  }
}

// A longer row: a thread keeps the maximum and the sum of its own elements as they come (Milakov
// and Gimelshein, "Online normalizer calculation for softmax", 2018), so that the row is read
// twice, not three times.
template <typename T>
static void softmax_online(device const T* x, device T* y, uint columns, uint thread_id,
                           uint threads, threadgroup float* partial, Place place) {
  float largest = -INFINITY;
  float sum = 0;
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    const float4 values = load_four(x, i, columns, -INFINITY);
    const float before = largest;
    largest = largest_of(values, largest);
    // Where nothing but -infinity was met there is nothing to rescale, and no difference to form.
    if (largest != before) sum *= precise::exp(before - largest);
    if (largest != -INFINITY) sum += sum_of(exp_of(values - largest));
  }
  const float row_largest = threadgroup_max(largest, partial, place);
  // A thread that met only -infinity adds nothing; a row of nothing else is NaN, as 0 / 0 makes it.
  const float scaled = largest == -INFINITY ? 0.0f : sum * precise::exp(largest - row_largest);
  const float total = threadgroup_sum(isnan(largest) ? NAN : scaled, partial, place);
  const float scale = 1 / total, logarithm = precise::log(total);
  for (uint i = thread_id * 4; i < columns; i += threads * 4) {
    const float4 values = load_four(x, i, columns);
    store_four(y, i, columns,
               is_log ? values - row_largest - logarithm : exp_of(values - row_largest) * scale);
  }
}

// y[row][i] = exp(x[row][i] - max_j x[row][j]) / sum_j exp(x[row][j] - max_j x[row][j]), or its
// logarithm.
template <typename T, uint held>
kernel void softmax(device const T* x      [[buffer(0)]],
                    device T* y            [[buffer(1)]],
                    constant uint& columns [[buffer(2)]],
                    uint row               [[threadgroup_position_in_grid]],
                    uint thread_id         [[thread_position_in_threadgroup]],
                    uint threads           [[threads_per_threadgroup]],
                    uint lane              [[thread_index_in_simdgroup]],
                    uint simdgroup         [[simdgroup_index_in_threadgroup]],
                    uint simdgroups        [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];  // one entry per SIMD-group, at most 1024 / 32
  const Place place = {lane, simdgroup, simdgroups};
  x += size_t(row) * columns;
  y += size_t(row) * columns;
  if (columns <= threads * held * 4) {
    softmax_held<held>(x, y, columns, thread_id, threads, partial, place);
  } else {
    softmax_online(x, y, columns, thread_id, threads, partial, place);
  }
}

#define instantiate_softmax(name, T, variant, held)            \
  template [[host_name("softmax_" name "_" variant)]] kernel   \
      decltype(softmax<T, held>) softmax<T, held>;

for_each_softmax(instantiate_softmax, "float32", float)
for_each_softmax(instantiate_softmax, "float16", half)
for_each_softmax(instantiate_softmax, "bfloat16", bfloat)
