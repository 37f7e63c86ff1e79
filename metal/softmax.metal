// Softmax along rows of any length, one threadgroup per row.
#include <metal_stdlib>

#include "reduce.h"

using namespace metal;

constant constexpr uint kHeld = 4;  // elements that a thread keeps in registers

// The larger of the two; NaN if either is, which max() would pass over.
static float larger(float a, float b) { return a > b || isnan(a) ? a : b; }

// A row that the threads can hold: read once, one exponential per element, written once.
template <typename T>
static void softmax_held(device const T* x, device T* y, uint columns, uint thread_id, uint threads,
                         threadgroup float* partial, Place place) {
  float held[kHeld];
  float largest = -INFINITY;
  for (uint j = 0; j < kHeld; ++j) {
    const uint i = thread_id + j * threads;
    held[j] = i < columns ? float(x[i]) : -INFINITY;
    largest = larger(largest, held[j]);
  }
  const float row_largest = threadgroup_max(largest, partial, place);
  float sum = isnan(largest) ? NAN : 0.0f;
  for (uint j = 0; j < kHeld; ++j) {
    held[j] = precise::exp(held[j] - row_largest);
    sum += held[j];
  }
  const float scale = 1 / threadgroup_sum(sum, partial, place);
  for (uint j = 0; j < kHeld; ++j) {
    const uint i = thread_id + j * threads;
    if (i < columns) y[i] = T(held[j] * scale);
  }
}

// A longer row: a thread keeps the maximum and the sum of its own elements as they come (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", 2018), so that the row is read twice, not three times.
template <typename T>
static void softmax_online(device const T* x, device T* y, uint columns, uint thread_id, uint threads,
                           threadgroup float* partial, Place place) {
  float largest = -INFINITY;
  float sum = 0;
  for (uint i = thread_id; i < columns; i += threads) {
    const float value = float(x[i]);
    const float before = largest;
    largest = larger(value, largest);
    // Where nothing but -infinity was met there is nothing to rescale, and no difference to form.
    sum = largest == before ? sum : sum * precise::exp(before - largest);
    sum += largest == -INFINITY ? 0.0f : precise::exp(value - largest);
  }
  const float row_largest = threadgroup_max(largest, partial, place);
  // A thread that met only -infinity adds nothing; a row of nothing else is NaN, as 0 / 0 makes it.
  const float scaled = largest == -INFINITY ? 0.0f : sum * precise::exp(largest - row_largest);
  const float scale = 1 / threadgroup_sum(isnan(largest) ? NAN : scaled, partial, place);
  for (uint i = thread_id; i < columns; i += threads) y[i] = T(precise::exp(float(x[i]) - row_largest) * scale);
}

// y[row][i] = exp(x[row][i] - max_j x[row][j]) / sum_j exp(x[row][j] - max_j x[row][j]).
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
  if (columns <= threads * kHeld) {
    softmax_held(x, y, columns, thread_id, threads, partial, place);
  } else {
    softmax_online(x, y, columns, thread_id, threads, partial, place);
  }
}

template [[host_name("softmax_float32")]] kernel decltype(softmax<float>) softmax<float>;
template [[host_name("softmax_float16")]] kernel decltype(softmax<half>) softmax<half>;
template [[host_name("softmax_bfloat16")]] kernel decltype(softmax<bfloat>) softmax<bfloat>;
