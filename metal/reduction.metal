// Reductions along one dimension of any length, of elements that may be transformed first:
// y = finish(combine f(x)).
#include <metal_stdlib>

#include "activation.h"
#include "reduce.h"
#include "vectors.h"

using namespace metal;

// Numbers as metalgen.ops.reduction passes them.
constant int sum_reduction = 0;
constant int mean_reduction = 1;
constant int max_reduction = 2;
constant int min_reduction = 3;
constant int prod_reduction = 4;
constant int norm_reduction = 5;       // sqrt(sum of squares)
constant int logsumexp_reduction = 6;
constant int var_reduction = 7;        // biased

constant int reduction [[function_constant(0)]];
constant int activation [[function_constant(1)]];

static float larger(float a, float b) { return a > b || isnan(a) ? a : b; }   // NaN if either is
static float smaller(float a, float b) { return a < b || isnan(a) ? a : b; }

// What a thread, and then a threadgroup, knows of the elements met so far.
// sum: their sum, product, maximum or minimum. For the logarithm of a sum of exponentials `sum` is
// scaled by exp(-largest); for the variance `largest` is their mean and `sum` the squares about it,
// of `count` elements (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
// computing sample variances", 1979).
struct Reduced {
  float sum, largest, count;
};

static Reduced nothing() {
  if (reduction == prod_reduction) return {1.0f, 0.0f, 0.0f};
  if (reduction == max_reduction) return {-INFINITY, 0.0f, 0.0f};
  if (reduction == min_reduction) return {INFINITY, 0.0f, 0.0f};
  if (reduction == logsumexp_reduction) return {0.0f, -INFINITY, 0.0f};
  return {0.0f, 0.0f, 0.0f};
}

static Reduced one(float x) {
  x = activate(x, activation);
  if (reduction == norm_reduction) return {x * x, 0.0f, 1.0f};
  if (reduction == logsumexp_reduction) return {1.0f, x, 1.0f};
  if (reduction == var_reduction) return {0.0f, x, 1.0f};
  return {x, 0.0f, 1.0f};
}

static Reduced combine(Reduced a, Reduced b) {
  if (reduction == prod_reduction) return {a.sum * b.sum, 0.0f, 0.0f};
  if (reduction == max_reduction) return {larger(a.sum, b.sum), 0.0f, 0.0f};
  if (reduction == min_reduction) return {smaller(a.sum, b.sum), 0.0f, 0.0f};
  if (reduction == logsumexp_reduction) {
    const float largest = larger(a.largest, b.largest);
    // Equal maxima need no factor, and infinite ones allow none: the difference would be NaN.
    const float left = a.largest == largest ? a.sum : a.sum * precise::exp(a.largest - largest);
    const float right = b.largest == largest ? b.sum : b.sum * precise::exp(b.largest - largest);
    return {left + right, largest, 0.0f};
  }
  if (reduction == var_reduction) {
    const float count = a.count + b.count;
    const float apart = b.largest - a.largest;
    const float share = count > 0.0f ? b.count / count : 0.0f;
    return {a.sum + b.sum + apart * apart * a.count * share, a.largest + apart * share, count};
  }
  return {a.sum + b.sum, 0.0f, 0.0f};
}

static float finish(Reduced all, uint length) {
  if (reduction == mean_reduction) return all.sum / float(length);
  if (reduction == norm_reduction) return precise::sqrt(all.sum);
  if (reduction == logsumexp_reduction) return all.largest + precise::log(all.sum);
  if (reduction == var_reduction) return all.sum / float(length);
  return all.sum;
}

static Reduced simd_combine(Reduced mine) {
  for (ushort apart = 16; apart > 0; apart /= 2) {
    const Reduced other = {simd_shuffle_xor(mine.sum, apart), simd_shuffle_xor(mine.largest, apart),
                           simd_shuffle_xor(mine.count, apart)};
    mine = combine(mine, other);
  }
  return mine;
}

// Along the last dimension: one threadgroup per row.
template <typename T>
kernel void reduce_rows(device const T* x     [[buffer(0)]],
                        device T* y           [[buffer(1)]],
                        constant uint& length [[buffer(2)]],
                        uint row              [[threadgroup_position_in_grid]],
                        uint thread_id        [[thread_position_in_threadgroup]],
                        uint threads          [[threads_per_threadgroup]],
                        uint lane             [[thread_index_in_simdgroup]],
                        uint simdgroup        [[simdgroup_index_in_threadgroup]],
                        uint simdgroups       [[simdgroups_per_threadgroup]]) {
  threadgroup Reduced partial[32];  // one entry per SIMD-group, at most 1024 / 32
  x += size_t(row) * length;
  Reduced mine = nothing();
  for (uint i = thread_id * 4; i < length; i += threads * 4) {
    const float4 values = load_four(x, i, length);
    for (uint j = 0; j < 4; ++j) {
      if (i + j < length) mine = combine(mine, one(values[j]));
    }
  }
  mine = simd_combine(mine);
  if (lane == 0) partial[simdgroup] = mine;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // all entries are written
  if (simdgroup != 0) return;
  Reduced all = nothing();
  if (lane < simdgroups) all = partial[lane];
  all = simd_combine(all);
  if (lane == 0) y[row] = T(finish(all, length));
}

// Along a dimension with `inner` elements behind it: a SIMD-group has 32 neighbouring results, the
// SIMD-groups of a threadgroup take turns along the dimension. Threadgroups: (ceil(inner / 32),
// outer).
template <typename T>
kernel void reduce_columns(device const T* x     [[buffer(0)]],
                           device T* y           [[buffer(1)]],
                           constant uint& length [[buffer(2)]],
                           constant uint& inner  [[buffer(3)]],
                           uint2 group           [[threadgroup_position_in_grid]],
                           uint lane             [[thread_index_in_simdgroup]],
                           uint simdgroup        [[simdgroup_index_in_threadgroup]],
                           uint simdgroups       [[simdgroups_per_threadgroup]]) {
  threadgroup Reduced partial[32 * 32];
  const uint column = group.x * 32 + lane;
  x += size_t(group.y) * length * inner;
  Reduced mine = nothing();
  if (column < inner) {
    for (uint i = simdgroup; i < length; i += simdgroups) {
      mine = combine(mine, one(float(x[size_t(i) * inner + column])));
    }
  }
  partial[simdgroup * 32 + lane] = mine;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // all entries are written
  if (simdgroup != 0 || column >= inner) return;
  for (uint s = 1; s < simdgroups; ++s) mine = combine(mine, partial[s * 32 + lane]);
  y[size_t(group.y) * inner + column] = T(finish(mine, length));
}

#define instantiate_reduction(kernel_name, name, T)    \
  template [[host_name(#kernel_name "_" name)]] kernel \
      decltype(kernel_name<T>) kernel_name<T>;

instantiate_reduction(reduce_rows, "float32", float)
instantiate_reduction(reduce_rows, "float16", half)
instantiate_reduction(reduce_rows, "bfloat16", bfloat)
instantiate_reduction(reduce_columns, "float32", float)
instantiate_reduction(reduce_columns, "float16", half)
instantiate_reduction(reduce_columns, "bfloat16", bfloat)
