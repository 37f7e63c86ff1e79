// MLX's block_softmax and layer_norm in OpenCL C: a work-group for each row, `READS` elements a work-item.
// PoCL has no sub-groups: what MLX reduces by SIMD-groups goes through local memory in the same two steps.
#define SIMD 32

static float largest_of_all(float value, local float* partial) {
  const uint lane = get_local_id(0);
  partial[lane] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lane % SIMD == 0) {
    for (uint i = 1; i < SIMD; ++i) value = fmax(value, partial[lane + i]);
    partial[lane] = value;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  value = partial[0];
  for (uint i = SIMD; i < get_local_size(0); i += SIMD) value = fmax(value, partial[i]);
  barrier(CLK_LOCAL_MEM_FENCE);
  return value;
}

static float sum_of_all(float value, local float* partial) {
  const uint lane = get_local_id(0);
  partial[lane] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lane % SIMD == 0) {
    for (uint i = 1; i < SIMD; ++i) value += partial[lane + i];
    partial[lane] = value;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  value = partial[0];
  for (uint i = SIMD; i < get_local_size(0); i += SIMD) value += partial[i];
  barrier(CLK_LOCAL_MEM_FENCE);
  return value;
}

kernel void softmax(global const float* x, global float* y, int columns) {
  enum { READS = 4 };
  local float partial[1024];
  float values[READS];
  x += get_group_id(0) * (size_t)columns + get_local_id(0) * READS;
  y += get_group_id(0) * (size_t)columns + get_local_id(0) * READS;
  float largest = -INFINITY;
  for (uint i = 0; i < READS; ++i) {
    values[i] = x[i];
    largest = fmax(largest, values[i]);
  }
  largest = largest_of_all(largest, partial);
  float sum = 0;
  for (uint i = 0; i < READS; ++i) {
    values[i] = native_exp(values[i] - largest);
    sum += values[i];
  }
  const float scale = 1 / sum_of_all(sum, partial);
  for (uint i = 0; i < READS; ++i) y[i] = values[i] * scale;
}

kernel void layer_norm(global const float* x, global const float* weight, global const float* bias,
                       global float* y, float epsilon, int columns) {
  enum { READS = 8 };
  local float partial[1024];
  float values[READS];
  const uint first = get_local_id(0) * READS;
  x += get_group_id(0) * (size_t)columns + first;
  y += get_group_id(0) * (size_t)columns + first;
  float sum = 0;
  for (uint i = 0; i < READS; ++i) {
    values[i] = x[i];
    sum += values[i];
  }
  const float mean = sum_of_all(sum, partial) / columns;
  float squares = 0;
  for (uint i = 0; i < READS; ++i) {
    values[i] -= mean;
    squares += values[i] * values[i];
  }
  const float scale = rsqrt(sum_of_all(squares, partial) / columns + epsilon);
  for (uint i = 0; i < READS; ++i) {
    y[i] = values[i] * scale * weight[first + i] + bias[first + i];
  }
}
