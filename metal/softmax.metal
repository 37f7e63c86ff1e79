// Softmax along rows of any length, one threadgroup per row.
#include <metal_stdlib>

#include "reduce.h"

using namespace metal;

// y[row][i] = exp(x[row][i] - max_j x[row][j]) / sum_j exp(x[row][j] - max_j x[row][j]).
// A thread keeps the maximum and the sum of its own elements as they come (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018), so that a row is read twice: once for both, once to write the result.
template <typename T>
kernel void softmax(device const T* x      [[buffer(0)]],
                    device T*       y      [[buffer(1)]],
                    constant uint& columns [[buffer(2)]],
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

  float largest = -INFINITY;
  float sum = 0;
  for (uint i = thread_id; i < columns; i += threads) {
    const float value = float(x[i]);
    const float before = largest;
    largest = value > largest || isnan(value) ? value : largest;
    // Where nothing but -infinity was met there is nothing to rescale, and no difference to form.
    const float kept = largest == before ? sum : sum * precise::exp(before - largest);
    sum = kept + (largest == -INFINITY ? 0.0f : precise::exp(value - largest));
  }
  const bool has_nan = isnan(largest);
  const float row_largest = threadgroup_max(has_nan ? -INFINITY : largest, partial, place);
  // A thread that met only -infinity adds nothing; a row of nothing else is NaN, as 0 / 0 makes it.
  const float scaled = largest == -INFINITY ? 0.0f : sum * precise::exp(largest - row_largest);
  const float row_sum = threadgroup_sum(has_nan ? NAN : scaled, partial, place);

  const float scale = 1 / row_sum;
  for (uint i = thread_id; i < columns; i += threads) y[i] = T(precise::exp(float(x[i]) - row_largest) * scale);
}

template [[host_name("softmax_float32")]] kernel decltype(softmax<float>) softmax<float>;
template [[host_name("softmax_float16")]] kernel decltype(softmax<half>) softmax<half>;
template [[host_name("softmax_bfloat16")]] kernel decltype(softmax<bfloat>) softmax<bfloat>;
