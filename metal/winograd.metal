// Convolution with 3 x 3 kernels by Winograd's minimal filtering: tiles of the input, and weights,
// are taken to points where a convolution is a product, multiplied there, and taken back.
// y tile = A' [(G g G') * (B' d B)] A, with the matrices of Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2015). Everything between x and y is float, whatever T is.
#include <metal_stdlib>

#include "epilogue.h"
#include "instances.h"

using namespace metal;

constant bool has_bias [[function_constant(0)]];
constant bool has_residual [[function_constant(1)]];

struct WinogradShape {
  uint channels, outputs;
  uint height, width;           // of the input
  uint out_height, out_width;
  uint down, across;            // tiles of an image
  uint tiles;                   // of all images
  int padding_y, padding_x;
  int activation;
};

// The three transforms of a line for tiles of `tile` results. Entries are `step` apart.
template <uint tile>
struct Points;

template <>
struct Points<2> {
  static void of_input(thread float* v, uint step) {
    const float a = v[0], b = v[step], c = v[2 * step], d = v[3 * step];
    v[0] = a - c;
    v[step] = b + c;
    v[2 * step] = c - b;
    v[3 * step] = b - d;
  }

  // Of the first three entries.
  static void of_weights(thread float* v, uint step) {
    const float a = v[0], b = v[step], c = v[2 * step];
    v[step] = 0.5f * (a + b + c);
    v[2 * step] = 0.5f * (a - b + c);
    v[3 * step] = c;
  }

  // The first two entries become the results.
  static void to_results(thread float* v, uint step) {
    const float a = v[0], b = v[step], c = v[2 * step], d = v[3 * step];
    v[0] = a + b + c;
    v[step] = b - c - d;
  }
};

// Points 0, 3/4, -3/4, 3/2, -3/2 and infinity: exact in binary, and a third of the rounding error
// of the usual 0, 1, -1, 2, -2.
template <>
struct Points<4> {
  static void of_input(thread float* v, uint step) {
    const float a = v[0], b = v[step], c = v[2 * step], d = v[3 * step], e = v[4 * step],
                f = v[5 * step];
    const float inner_even = e - 2.25f * c, inner_odd = 0.75f * (d - 2.25f * b);
    const float outer_even = e - 0.5625f * c, outer_odd = 1.5f * (d - 0.5625f * b);
    v[0] = e - 2.8125f * c + 1.265625f * a;
    v[step] = inner_even + inner_odd;
    v[2 * step] = inner_even - inner_odd;
    v[3 * step] = outer_even + outer_odd;
    v[4 * step] = outer_even - outer_odd;
    v[5 * step] = f - 2.8125f * d + 1.265625f * b;
  }

  static void of_weights(thread float* v, uint step) {
    const float a = v[0], b = v[step], c = v[2 * step];
    const float inner_even = a + 0.5625f * c, inner_odd = 0.75f * b;
    const float outer_even = a + 2.25f * c, outer_odd = 1.5f * b;
    v[0] = a * (64.0f / 81.0f);
    v[step] = (inner_even + inner_odd) * (-128.0f / 243.0f);
    v[2 * step] = (inner_even - inner_odd) * (-128.0f / 243.0f);
    v[3 * step] = (outer_even + outer_odd) * (32.0f / 243.0f);
    v[4 * step] = (outer_even - outer_odd) * (32.0f / 243.0f);
    v[5 * step] = c;
  }

  static void to_results(thread float* v, uint step) {
    const float a = v[0], f = v[5 * step];
    const float inner_sum = v[step] + v[2 * step], inner_difference = v[step] - v[2 * step];
    const float outer_sum = v[3 * step] + v[4 * step];
    const float outer_difference = v[3 * step] - v[4 * step];
    v[0] = a + inner_sum + outer_sum;
    v[step] = 0.75f * inner_difference + 1.5f * outer_difference;
    v[2 * step] = 0.5625f * inner_sum + 2.25f * outer_sum;
    v[3 * step] = 0.421875f * inner_difference + 3.375f * outer_difference + f;
  }
};

// weight (outputs, channels, 3, 3) to points (points, outputs, channels): a thread for each kernel.
template <typename T, uint tile>
kernel void winograd_weights(device const T* weight        [[buffer(0)]],
                             device float* points          [[buffer(1)]],
                             constant WinogradShape& shape [[buffer(2)]],
                             uint kernel_index             [[thread_position_in_grid]]) {
  constexpr uint size = tile + 2;
  const size_t kernels = size_t(shape.outputs) * shape.channels;
  weight += size_t(kernel_index) * 9;
  float v[size * size];
  for (uint i = 0; i < 3; ++i) {
    for (uint j = 0; j < 3; ++j) v[i * size + j] = float(weight[i * 3 + j]);
    Points<tile>::of_weights(v + i * size, 1);
  }
  for (uint j = 0; j < size; ++j) Points<tile>::of_weights(v + j, size);
  for (uint p = 0; p < size * size; ++p) points[p * kernels + kernel_index] = v[p];
}

// x (images, channels, height, width) to points (points, channels, tiles): a thread for each tile
// and channel. Threads: (tiles, channels).
template <typename T, uint tile>
kernel void winograd_input(device const T* x             [[buffer(0)]],
                           device float* points          [[buffer(1)]],
                           constant WinogradShape& shape [[buffer(2)]],
                           uint2 place                   [[thread_position_in_grid]]) {
  constexpr uint size = tile + 2;
  const uint of_image = shape.down * shape.across;
  const uint image = place.x / of_image, at = place.x % of_image;
  const int y0 = int(at / shape.across * tile) - shape.padding_y;
  const int x0 = int(at % shape.across * tile) - shape.padding_x;
  x += (size_t(image) * shape.channels + place.y) * shape.height * shape.width;
  float v[size * size];
  for (uint i = 0; i < size; ++i) {
    const int row = y0 + int(i);
    const bool is_there = row >= 0 && row < int(shape.height);
    for (uint j = 0; j < size; ++j) {
      const int column = x0 + int(j);
      v[i * size + j] = is_there && column >= 0 && column < int(shape.width)
                            ? float(x[size_t(row) * shape.width + column])
                            : 0.0f;
    }
    Points<tile>::of_input(v + i * size, 1);
  }
  for (uint j = 0; j < size; ++j) Points<tile>::of_input(v + j, size);
  const size_t plane = size_t(shape.channels) * shape.tiles;
  points += size_t(place.y) * shape.tiles + place.x;
  for (uint p = 0; p < size * size; ++p) points[p * plane] = v[p];
}

// points (points, outputs, tiles) to y = activation(result + bias) + residual, (images, outputs,
// out_height, out_width): a thread for each tile and output. Threads: (tiles, outputs).
template <typename T, uint tile>
kernel void winograd_output(
    device const float* points    [[buffer(0)]],
    device const T* bias          [[buffer(1), function_constant(has_bias)]],
    device const T* residual      [[buffer(2), function_constant(has_residual)]],
    device T* y                   [[buffer(3)]],
    constant WinogradShape& shape [[buffer(4)]],
    uint2 place                   [[thread_position_in_grid]]) {
  constexpr uint size = tile + 2;
  const size_t plane = size_t(shape.outputs) * shape.tiles;
  points += size_t(place.y) * shape.tiles + place.x;
  float v[size * size];
  for (uint p = 0; p < size * size; ++p) v[p] = points[p * plane];
  for (uint i = 0; i < size; ++i) Points<tile>::to_results(v + i * size, 1);
  for (uint j = 0; j < tile; ++j) Points<tile>::to_results(v + j, size);

  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  const uint of_image = shape.down * shape.across;
  const uint image = place.x / of_image, at = place.x % of_image;
  const uint first_row = at / shape.across * tile, first_column = at % shape.across * tile;
  const size_t start = (size_t(image) * shape.outputs + place.y) * shape.out_height;
  for (uint i = 0; i < tile; ++i) {
    const uint row = first_row + i;
    for (uint j = 0; j < tile; ++j) {
      const uint column = first_column + j;
      if (row < shape.out_height && column < shape.out_width) {
        const size_t index = (start + row) * shape.out_width + column;
        y[index] = epilogue(v[i * size + j], place.y, index);
      }
    }
  }
}

#define instantiate_winograd(name, T, variant, tile)                            \
  template [[host_name("winograd_weights_" name "_" variant)]] kernel           \
      decltype(winograd_weights<T, tile>) winograd_weights<T, tile>;            \
  template [[host_name("winograd_input_" name "_" variant)]] kernel             \
      decltype(winograd_input<T, tile>) winograd_input<T, tile>;                \
  template [[host_name("winograd_output_" name "_" variant)]] kernel            \
      decltype(winograd_output<T, tile>) winograd_output<T, tile>;

for_each_winograd(instantiate_winograd, "float32", float)
for_each_winograd(instantiate_winograd, "float16", half)
for_each_winograd(instantiate_winograd, "bfloat16", bfloat)
