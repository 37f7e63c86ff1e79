// attention.metal in OpenCL C: a work-item for each query, keys and values in blocks through local memory.
#define WIDTH 64
#define BLOCK 32
#define THREADS 64

kernel void attention(global const float* q, global const float* k, global const float* v,
                      global float* y, uint length, float scale) {
  local float keys[BLOCK * WIDTH], values[BLOCK * WIDTH];
  const uint thread_id = get_local_id(0), row = get_global_id(0), head = get_global_id(1);
  q += (size_t)head * length * WIDTH;
  k += (size_t)head * length * WIDTH;
  v += (size_t)head * length * WIDTH;
  y += (size_t)head * length * WIDTH;
  float query[WIDTH], sums[WIDTH];
  for (uint i = 0; i < WIDTH; ++i) {
    query[i] = q[row * WIDTH + i] * scale;
    sums[i] = 0;
  }
  float largest = -INFINITY, total = 0;
  for (uint first = 0; first < length; first += BLOCK) {
    for (uint i = thread_id; i < BLOCK * WIDTH; i += THREADS) {
      keys[i] = k[first * WIDTH + i];
      values[i] = v[first * WIDTH + i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint key = 0; key < BLOCK; ++key) {
      float score = 0;
      for (uint i = 0; i < WIDTH; ++i) score += query[i] * keys[key * WIDTH + i];
      const float before = largest;
      largest = fmax(largest, score);
      const float factor = native_exp(before - largest), weight = native_exp(score - largest);
      total = total * factor + weight;
      for (uint i = 0; i < WIDTH; ++i) sums[i] = sums[i] * factor + weight * values[key * WIDTH + i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (uint i = 0; i < WIDTH; ++i) y[row * WIDTH + i] = sums[i] / total;
}
