// convolution.metal in OpenCL C: 3 × 3, padded by 1, eight outputs of one position a work-item.
#define CHANNELS 64
#define SIDE 64
#define OUTPUTS 8

kernel void convolution(global const float* x, global const float* weight, global float* y) {
  const int x0 = get_global_id(0), y0 = get_global_id(1);
  const int blocks = CHANNELS / OUTPUTS, image = get_global_id(2) / blocks, block = get_global_id(2) % blocks;
  x += (size_t)image * CHANNELS * SIDE * SIDE;
  y += ((size_t)image * CHANNELS + block * OUTPUTS) * SIDE * SIDE;
  weight += block * OUTPUTS * CHANNELS * 9;
  float sums[OUTPUTS] = {};
  for (int c = 0; c < CHANNELS; ++c) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) {
        const int row = y0 + i - 1, column = x0 + j - 1;
        const bool is_inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
        const float value = is_inside ? x[(c * SIDE + row) * SIDE + column] : 0;
        for (int o = 0; o < OUTPUTS; ++o) sums[o] += value * weight[((o * CHANNELS + c) * 3 + i) * 3 + j];
      }
    }
  }
  for (int o = 0; o < OUTPUTS; ++o) y[(o * SIDE + y0) * SIDE + x0] = sums[o];
}
