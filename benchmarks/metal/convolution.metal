// A 3 × 3 convolution of 64 channels into 64, 64 × 64 positions padded by 1: eight outputs of one position a thread.
#include <metal_stdlib>
using namespace metal;

#define CHANNELS 64
#define SIDE 64
#define OUTPUTS 8

kernel void convolution(device const float* x [[buffer(0)]], device const float* weight [[buffer(1)]],
                        device float* y [[buffer(2)]], uint3 place [[thread_position_in_grid]]) {
  const int x0 = place.x, y0 = place.y;
  const int blocks = CHANNELS / OUTPUTS, image = place.z / blocks, block = place.z % blocks;
  x += size_t(image) * CHANNELS * SIDE * SIDE;
  y += (size_t(image) * CHANNELS + block * OUTPUTS) * SIDE * SIDE;
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
