// Scaled dot-product attention, y = softmax(scale q k^T + mask) v, without its matrix of scores in
// memory (Dao et al., "FlashAttention", 2022): keys come in blocks, and what was summed is rescaled
// when a larger score is met.
#include <metal_stdlib>

#include "instances.h"
#include "tiles.h"

using namespace metal;

constant bool has_bool_mask [[function_constant(0)]];  // true where a key counts
constant bool has_mask [[function_constant(1)]];       // added to the scores
constant bool is_causal [[function_constant(2)]];      // query i sees keys 0 to i
constant bool hides [[function_constant(3)]];          // the bool mask is true where none counts
constant bool is_safe [[function_constant(4)]];        // no key seen gives zeros, else NaN

struct AttentionShape {
  uint queries, keys;
  uint size, value_size;          // elements of a query or key, and of a value
  uint share;                     // heads of q for each head of k and v
  float scale, hidden;            // score of a key that a bool mask hides
  ulong q_batch, q_head, q_row;   // elements from one to the next
  ulong k_batch, k_head, k_row;
  ulong v_batch, v_head, v_row;
  ulong mask_batch, mask_head, mask_row, mask_key;
  ulong y_batch, y_head, y_row;
};

// The larger of the two; NaN if either is, which max() would pass over.
static float larger(float a, float b) { return a > b || isnan(a) ? a : b; }

// A score as it enters the softmax; -infinity where the query must not see the key.
template <typename T>
static float masked(float score, device const uchar* bool_mask, device const T* mask,
                    constant AttentionShape& shape, uint query, uint key) {
  if (key >= shape.keys || query >= shape.queries || (is_causal && key > query)) return -INFINITY;
  const size_t index = query * shape.mask_row + key * shape.mask_key;
  if (has_bool_mask && (bool_mask[index] == 0) != hides) return shape.hidden;
  score *= shape.scale;
  return has_mask ? score + float(mask[index]) : score;
}

// exp(x - largest), of which nothing is left where no score was finite yet.
static float weight_of(float x, float largest) {
  return largest == -INFINITY ? 0.0f : precise::exp(x - largest);
}

// A weighted sum over the sum of weights, which is 0 where a query sees no key at all.
template <typename T>
static T averaged(float sum, float total) {
  return T(total == 0.0f ? (is_safe ? 0.0f : NAN) : sum / total);
}

// Where a query's scores are, and what is known of them: four lanes share a row of eight, and all
// know its largest score and the sum of its weights so far.
struct Progress {
  uint row, quarter;
  float largest, total;
};

// Turns a row's new scores into weights, exp(score - largest); what was summed before counts
// `factor` times.
template <uint block, typename T>
static float weigh(thread Progress& progress, threadgroup float* scores,
                   device const uchar* bool_mask, device const T* mask,
                   constant AttentionShape& shape, uint query, uint first_key) {
  threadgroup float* own = scores + progress.row * block;
  const float before = progress.largest;
  float largest = before;
  for (uint i = progress.quarter; i < block; i += 4) {
    own[i] = masked(own[i], bool_mask, mask, shape, query, first_key + i);
    largest = larger(own[i], largest);
  }
  largest = larger(simd_shuffle_xor(largest, 1), largest);
  largest = larger(simd_shuffle_xor(largest, 2), largest);
  float sum = 0;
  for (uint i = progress.quarter; i < block; i += 4) {
    own[i] = weight_of(own[i], largest);
    sum += own[i];
  }
  sum += simd_shuffle_xor(sum, 1);
  sum += simd_shuffle_xor(sum, 2);
  const float factor = before == largest ? 1.0f : weight_of(before, largest);
  progress.largest = largest;
  progress.total = progress.total * factor + sum;
  return factor;
}

// Which rows a lane's two elements of an 8 x 8 matrix lie in, read from one that holds its row
// numbers: Metal does not say how lanes share a matrix. `scratch` has 64 entries for the
// SIMD-group.
static uint2 rows_of_elements(threadgroup float* scratch, uint lane) {
  for (uint e = lane; e < 64; e += 32) scratch[e] = float(e / 8);
  simdgroup_barrier(mem_flags::mem_threadgroup);  // the numbers are there
  simdgroup_float8x8 numbers;
  simdgroup_load(numbers, scratch, 8);
  simdgroup_barrier(mem_flags::mem_threadgroup);  // they have been read
  return uint2(uint(numbers.thread_elements()[0]), uint(numbers.thread_elements()[1]));
}

// scores = queries of this SIMD-group x keys in the tile, 8 x block.
template <uint size, uint block, typename T>
static void score_keys(threadgroup float* scores, thread simdgroup_matrix<T, 8, 8>* query,
                       threadgroup const T* tile) {
  for (uint j = 0; j < block / 8; ++j) {
    simdgroup_float8x8 score = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (uint d = 0; d < size / 8; ++d) {
      simdgroup_matrix<T, 8, 8> key;
      simdgroup_load(key, tile + j * 8 * (size + 4) + d * 8, size + 4, vec<ulong, 2>(0), true);
      simdgroup_multiply_accumulate(score, query[d], key, score);
    }
    simdgroup_store(score, scores + j * 8, block);
  }
}

// sums = rescaled sums + weights, 8 x block, x values in the tile.
template <uint size, uint block, typename T>
static void add_values(thread simdgroup_float8x8* sums, float2 rescale,
                       threadgroup const float* weights, threadgroup const T* tile) {
  for (uint d = 0; d < size / 8; ++d) {
    sums[d].thread_elements()[0] *= rescale[0];
    sums[d].thread_elements()[1] *= rescale[1];
  }
  for (uint j = 0; j < block / 8; ++j) {
    simdgroup_float8x8 weight;
    simdgroup_load(weight, weights + j * 8, block);
    for (uint d = 0; d < size / 8; ++d) {
      simdgroup_matrix<T, 8, 8> value;
      simdgroup_load(value, tile + j * 8 * (size + 4) + d * 8, size + 4);
      simdgroup_multiply_accumulate(sums[d], weight, value, sums[d]);
    }
  }
}

// A threadgroup has 8 queries for each of its SIMD-groups, all of one head: (ceil(queries / (8
// simdgroups)), heads, batch). Queries and sums stay in registers as 8 x 8 matrices; keys, then
// values, pass through `tile`. Heads of up to `size` elements fit, shorter ones are filled up with
// zeros. (Longer than functions should be: every part that does not wait at a barrier is a function
// of its own.)
template <typename T, uint size, uint block, uint simdgroups>
kernel void attention(
    device const T* q              [[buffer(0)]],
    device const T* k              [[buffer(1)]],
    device const T* v              [[buffer(2)]],
    device const uchar* bool_mask  [[buffer(3), function_constant(has_bool_mask)]],
    device const T* mask           [[buffer(4), function_constant(has_mask)]],
    device T* y                    [[buffer(5)]],
    constant AttentionShape& shape [[buffer(6)]],
    uint3 group                    [[threadgroup_position_in_grid]],
    uint thread_id                 [[thread_index_in_threadgroup]],
    uint simdgroup                 [[simdgroup_index_in_threadgroup]],
    uint lane                      [[thread_index_in_simdgroup]]) {
  constexpr uint pitch = size + 4, threads = simdgroups * 32;
  static_assert(simdgroups * 8 % block == 0, "queries pass through the keys' tile in whole blocks");
  threadgroup vec<T, 4> storage[block * pitch / 4];
  threadgroup float scratch[simdgroups][8 * block];
  threadgroup float factors[simdgroups][8];
  threadgroup T* tile = (threadgroup T*)storage;
  threadgroup float* scores = scratch[simdgroup];

  const uint first_query = group.x * simdgroups * 8, own_query = first_query + simdgroup * 8;
  const uint kv_head = group.y / shape.share;
  const Lines<T> queries = {q + group.z * shape.q_batch + group.y * shape.q_head, uint(shape.q_row),
                            shape.queries, shape.size};
  const Lines<T> keys = {k + group.z * shape.k_batch + kv_head * shape.k_head, uint(shape.k_row),
                         shape.keys, shape.size};
  const Lines<T> values = {v + group.z * shape.v_batch + kv_head * shape.v_head, uint(shape.v_row),
                           shape.keys, shape.value_size};
  const size_t mask_start = group.z * shape.mask_batch + group.y * shape.mask_head;
  if (has_bool_mask) bool_mask += mask_start;
  if (has_mask) mask += mask_start;

  simdgroup_matrix<T, 8, 8> query[size / 8];
  for (uint first = 0; first < simdgroups * 8; first += block) {
    load_tile<block, size, threads, 4>(tile, queries, first_query + first, 0, thread_id);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // a block of queries is complete
    if (simdgroup * 8 >= first && simdgroup * 8 < first + block) {
      threadgroup const T* own = tile + (simdgroup * 8 - first) * pitch;
      for (uint d = 0; d < size / 8; ++d) simdgroup_load(query[d], own + d * 8, pitch);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // it has been read
  }

  const uint2 element_rows = rows_of_elements(scores, lane);
  simdgroup_float8x8 sums[size / 8];
  for (uint d = 0; d < size / 8; ++d) sums[d] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  Progress progress = {lane / 4, lane % 4, -INFINITY, 0.0f};
  // The last query of the threadgroup sees most keys.
  const uint end = is_causal ? min(shape.keys, first_query + simdgroups * 8) : shape.keys;
  for (uint first = 0; first < end; first += block) {
    load_tile<block, size, threads, 4>(tile, keys, first, 0, thread_id);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // the keys are complete
    score_keys<size, block>(scores, query, tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // keys have been read, scores are complete
    load_tile<block, size, threads, 4>(tile, values, first, 0, thread_id);
    const float factor =
        weigh<block>(progress, scores, bool_mask, mask, shape, own_query + progress.row, first);
    if (progress.quarter == 0) factors[simdgroup][progress.row] = factor;
    threadgroup_barrier(mem_flags::mem_threadgroup);  // values, weights and factors are complete
    const float2 rescale =
        float2(factors[simdgroup][element_rows[0]], factors[simdgroup][element_rows[1]]);
    add_values<size, block>(sums, rescale, scores, tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // values and weights have been read
  }

  y += group.z * shape.y_batch + group.y * shape.y_head;
  for (uint first = 0; first < size; first += block) {
    const uint columns = min(block, size - first);
    for (uint j = 0; j < columns / 8; ++j) {
      simdgroup_store(sums[first / 8 + j], scores + j * 8, block);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);  // part of the eight rows is complete
    for (uint e = lane; e < 8 * block; e += 32) {
      const uint row = e / block, column = first + e % block;
      const float total = simd_shuffle(progress.total, ushort(row * 4));
      if (own_query + row < shape.queries && column < min(size, shape.value_size)) {
        y[(own_query + row) * shape.y_row + column] = averaged<T>(scores[e], total);
      }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);  // it has been read
  }
}

// A few queries, as when one token is generated: a threadgroup for each (queries, heads, batch),
// whose SIMD-groups take turns at the keys, a lane holding every 32nd element of query and sum.
template <typename T, uint size, uint simdgroups>
kernel void attention_vector(
    device const T* q              [[buffer(0)]],
    device const T* k              [[buffer(1)]],
    device const T* v              [[buffer(2)]],
    device const uchar* bool_mask  [[buffer(3), function_constant(has_bool_mask)]],
    device const T* mask           [[buffer(4), function_constant(has_mask)]],
    device T* y                    [[buffer(5)]],
    constant AttentionShape& shape [[buffer(6)]],
    uint3 group                    [[threadgroup_position_in_grid]],
    uint simdgroup                 [[simdgroup_index_in_threadgroup]],
    uint lane                      [[thread_index_in_simdgroup]]) {
  constexpr uint per_lane = size / 32;
  threadgroup float parts[simdgroups][size];
  threadgroup float part_largest[simdgroups], part_total[simdgroups];
  q += group.z * shape.q_batch + group.y * shape.q_head + group.x * shape.q_row;
  k += group.z * shape.k_batch + group.y / shape.share * shape.k_head;
  v += group.z * shape.v_batch + group.y / shape.share * shape.v_head;
  const size_t mask_start = group.z * shape.mask_batch + group.y * shape.mask_head;
  if (has_bool_mask) bool_mask += mask_start;
  if (has_mask) mask += mask_start;

  float query[per_lane], sums[per_lane];
  for (uint j = 0; j < per_lane; ++j) {
    query[j] = lane + j * 32 < shape.size ? float(q[lane + j * 32]) : 0.0f;
    sums[j] = 0;
  }
  float largest = -INFINITY, total = 0;
  for (uint key = simdgroup; key < shape.keys; key += simdgroups) {
    float product = 0;
    for (uint j = 0; j < per_lane; ++j) {
      if (lane + j * 32 >= shape.size) continue;
      product = fma(query[j], float(k[key * shape.k_row + lane + j * 32]), product);
    }
    const float score = masked(simd_sum(product), bool_mask, mask, shape, group.x, key);
    const float before = largest;
    largest = larger(score, largest);
    const float factor = before == largest ? 1.0f : weight_of(before, largest);
    const float weight = weight_of(score, largest);
    total = total * factor + weight;
    for (uint j = 0; j < per_lane; ++j) {
      const bool is_there = lane + j * 32 < shape.value_size && weight != 0.0f;
      sums[j] *= factor;
      if (is_there) sums[j] = fma(weight, float(v[key * shape.v_row + lane + j * 32]), sums[j]);
    }
  }
  for (uint j = 0; j < per_lane; ++j) parts[simdgroup][lane + j * 32] = sums[j];
  part_largest[simdgroup] = largest;
  part_total[simdgroup] = total;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // the parts of all SIMD-groups are there
  if (simdgroup != 0) return;

  for (uint s = 1; s < simdgroups; ++s) largest = larger(part_largest[s], largest);
  total = 0;
  for (uint j = 0; j < per_lane; ++j) sums[j] = 0;
  for (uint s = 0; s < simdgroups; ++s) {
    const float factor = weight_of(part_largest[s], largest);
    total += part_total[s] * factor;
    for (uint j = 0; j < per_lane; ++j) sums[j] += parts[s][lane + j * 32] * factor;
  }
  y += group.z * shape.y_batch + group.y * shape.y_head + group.x * shape.y_row;
  for (uint j = 0; j < per_lane; ++j) {
    if (lane + j * 32 >= shape.value_size) continue;
    y[lane + j * 32] = averaged<T>(sums[j], total);
  }
}

#define instantiate_attention(name, T, variant, ...)               \
  template [[host_name("attention_" name "_" variant)]] kernel     \
      decltype(attention<T, __VA_ARGS__>) attention<T, __VA_ARGS__>;
#define instantiate_vector(name, T, variant, ...)                  \
  template [[host_name("attention_vector_" name "_" variant)]] kernel \
      decltype(attention_vector<T, __VA_ARGS__>) attention_vector<T, __VA_ARGS__>;

for_each_attention(instantiate_attention, "float32", float)
for_each_attention(instantiate_attention, "float16", half)
for_each_attention(instantiate_attention, "bfloat16", bfloat)
for_each_attention_vector(instantiate_vector, "float32", float)
for_each_attention_vector(instantiate_vector, "float16", half)
for_each_attention_vector(instantiate_vector, "bfloat16", bfloat)
