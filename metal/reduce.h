// Reductions over the threads of a threadgroup, for kernels that give each row to one threadgroup.
#pragma once
#include <metal_stdlib>

// Where a thread stands among the others of its threadgroup.
struct Place {
  uint lane;        // thread_index_in_simdgroup
  uint simdgroup;   // simdgroup_index_in_threadgroup
  uint simdgroups;  // simdgroups_per_threadgroup, at most 32
};

// Sum of `value` over all threads of the threadgroup; every thread must call it. `partial` holds 32
// entries and may be used again after the call, which ends with a barrier.
static float threadgroup_sum(float value, threadgroup float* partial, Place place) {
  value = metal::simd_sum(value);
  if (place.lane == 0) partial[place.simdgroup] = value;
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);  // all entries are written
  const float total = metal::simd_sum(place.lane < place.simdgroups ? partial[place.lane] : 0.0f);
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);  // all entries are read
  return total;
}

// Largest `value` of all threads of the threadgroup, in the manner of threadgroup_sum.
static float threadgroup_max(float value, threadgroup float* partial, Place place) {
  value = metal::simd_max(value);
  if (place.lane == 0) partial[place.simdgroup] = value;
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);  // all entries are written
  const float total =
      metal::simd_max(place.lane < place.simdgroups ? partial[place.lane] : -INFINITY);
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);  // all entries are read
  return total;
}
