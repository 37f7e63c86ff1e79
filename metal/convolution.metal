// Two-dimensional convolution: y[b][o] = activation(bias[o] + sum over c, i and j of
// x[b][c][..][..] weight[o][c][i][j]).
#include <metal_stdlib>

#include "epilogue.h"
#include "instances.h"
#include "tiles.h"

using namespace metal;

constant bool has_bias [[function_constant(0)]];
constant bool has_residual [[function_constant(1)]];

struct ConvolutionShape {
  uint groups;
  uint channels, outputs;          // of one group
  uint height, width;              // of the input
  uint out_height, out_width;
  uint kernel_height, kernel_width;
  uint stride_y, stride_x;
  int padding_y, padding_x;        // above, and to the left
  uint dilation_y, dilation_x;
  int activation;
};

// value / divisor for value < 2^21, from 1 / divisor: rounding cannot carry (value + 1/2) / divisor
// across an integer.
static uint quotient(uint value, float reciprocal) {
  return uint((float(value) + 0.5f) * reciprocal);
}

// What a convolution multiplies its weights with: a matrix of channels * kernel_height *
// kernel_width rows and a column for each output position, never stored.
template <typename T>
struct Patches {
  device const T* x;  // of one image and group
  constant ConvolutionShape& shape;
  int y0, x0;         // where the kernel's corner falls for this thread's column
  bool is_inside;     // the column exists
  float per_area, per_width;

  Patches(device const T* start, constant ConvolutionShape& s, uint position) : x(start), shape(s) {
    const uint row = position / s.out_width;
    y0 = int(row * s.stride_y) - s.padding_y;
    x0 = int((position - row * s.out_width) * s.stride_x) - s.padding_x;
    is_inside = position < s.out_height * s.out_width;
    per_area = 1.0f / float(s.kernel_height * s.kernel_width);
    per_width = 1.0f / float(s.kernel_width);
  }

  float at(uint k) const thread {
    const uint channel = quotient(k, per_area);
    const uint tap = k - channel * shape.kernel_height * shape.kernel_width;
    const uint i = quotient(tap, per_width);
    const int row = y0 + int(i * shape.dilation_y);
    const int column = x0 + int((tap - i * shape.kernel_width) * shape.dilation_x);
    const bool is_there = is_inside && channel < shape.channels && row >= 0 &&
                          row < int(shape.height) && column >= 0 && column < int(shape.width);
    return is_there ? float(x[(size_t(channel) * shape.height + row) * shape.width + column])
                    : 0.0f;
  }
};

template <typename T>
struct ConvolutionWriter {
  Epilogue<T> epilogue;
  device T* y;
  size_t start;
  uint first_output, first_position;
  uint outputs, positions;
  uint bias_offset;

  void operator()(uint row, uint column, float sum) const thread {
    const uint output = first_output + row, position = first_position + column;
    if (output >= outputs || position >= positions) return;
    const size_t index = start + size_t(output) * positions + position;
    y[index] = epilogue(sum, bias_offset + output, index);
  }
};

// Implicit matrix product: weights (outputs x taps) times patches (taps x positions), a threadgroup
// for each tile of (positions, outputs, image * groups + group).
template <typename T, typename S, uint rows, uint columns, uint depth, uint down, uint across,
          uint width, uint matrices>
kernel void convolution(
    device const T* x                [[buffer(0)]],
    device const T* weight           [[buffer(1)]],
    device const T* bias             [[buffer(2), function_constant(has_bias)]],
    device const T* residual         [[buffer(3), function_constant(has_residual)]],
    device T* y                      [[buffer(4)]],
    constant ConvolutionShape& shape [[buffer(5)]],
    uint3 tile                       [[threadgroup_position_in_grid]],
    uint thread_id                   [[thread_index_in_threadgroup]],
    uint simdgroup                   [[simdgroup_index_in_threadgroup]],
    uint lane                        [[thread_index_in_simdgroup]]) {
  typedef Tiling<S, rows, columns, depth, down, across, matrices> Tiles;
  typedef typename Tiles::Stage Stage;
  static_assert(Tiles::threads % columns == 0, "a thread keeps to one column of the patches");
  threadgroup vec<Stage, 4> left[Tiles::left_fours];
  threadgroup vec<Stage, 4> right[Tiles::right_fours];
  threadgroup float scratch[Tiles::scratch_size];
  threadgroup Stage* tile_w = (threadgroup Stage*)left;
  threadgroup Stage* tile_x = (threadgroup Stage*)right;

  const uint group = tile.z % shape.groups;
  const uint taps = shape.channels * shape.kernel_height * shape.kernel_width;
  const uint positions = shape.out_height * shape.out_width;
  const uint first_output = tile.y * rows, first_position = tile.x * columns;
  const Lines<T> weights = {weight + size_t(group) * shape.outputs * taps, taps, shape.outputs,
                            taps};
  const uint column = thread_id % columns;
  const Patches<T> patches(x + size_t(tile.z) * shape.channels * shape.height * shape.width, shape,
                           first_position + column);

  Product<Tiles> product;
  product.begin(simdgroup);
  for (uint k = 0; k < taps; k += depth) {
    load_tile<rows, depth, Tiles::threads, width>(tile_w, weights, first_output, k, thread_id);
    for (uint i = thread_id / columns; i < depth; i += Tiles::threads / columns) {
      tile_x[i * Tiles::columns_pitch + column] = Stage(patches.at(k + i));
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles are complete
    add_step<Tiles>(product, tile_w, false, tile_x, false, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // both tiles have been read
  }

  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  const size_t start = size_t(tile.z) * shape.outputs * positions;
  const ConvolutionWriter<T> write = {epilogue, y, start, first_output, first_position,
                                      shape.outputs, positions, group * shape.outputs};
  product.store(scratch, simdgroup, lane, write);
}

// The sum as it is written, one thread for each result: for groups of few channels (depthwise),
// where a product's tiles would stay empty. Threads: (out_width, out_height, images * groups *
// outputs).
template <typename T>
kernel void convolution_direct(
    device const T* x                [[buffer(0)]],
    device const T* weight           [[buffer(1)]],
    device const T* bias             [[buffer(2), function_constant(has_bias)]],
    device const T* residual         [[buffer(3), function_constant(has_residual)]],
    device T* y                      [[buffer(4)]],
    constant ConvolutionShape& shape [[buffer(5)]],
    uint3 place                      [[thread_position_in_grid]]) {
  const uint all_outputs = shape.groups * shape.outputs;
  const uint output = place.z % all_outputs;
  const uint image_group = place.z / all_outputs * shape.groups + output / shape.outputs;
  const int y0 = int(place.y * shape.stride_y) - shape.padding_y;
  const int x0 = int(place.x * shape.stride_x) - shape.padding_x;
  weight += size_t(output) * shape.channels * shape.kernel_height * shape.kernel_width;
  float sum = 0;
  for (uint c = 0; c < shape.channels; ++c) {
    device const T* plane =
        x + (size_t(image_group) * shape.channels + c) * shape.height * shape.width;
    for (uint i = 0; i < shape.kernel_height; ++i) {
      const int row = y0 + int(i * shape.dilation_y);
      if (row >= 0 && row < int(shape.height)) {
        for (uint j = 0; j < shape.kernel_width; ++j) {
          const int column = x0 + int(j * shape.dilation_x);
          if (column >= 0 && column < int(shape.width)) {
            sum = fma(float(plane[size_t(row) * shape.width + column]), float(weight[j]), sum);
          }
        }
      }
      weight += shape.kernel_width;
    }
  }
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  const size_t index = (size_t(place.z) * shape.out_height + place.y) * shape.out_width + place.x;
  y[index] = epilogue(sum, output, index);
}

#define instantiate_convolution(name, T, S, variant, ...)             \
  template [[host_name("convolution_" name "_" variant)]] kernel      \
      decltype(convolution<T, S, __VA_ARGS__>) convolution<T, S, __VA_ARGS__>;
#define instantiate_direct(name, T)                                   \
  template [[host_name("convolution_direct_" name)]] kernel           \
      decltype(convolution_direct<T>) convolution_direct<T>;

for_each_convolution(instantiate_convolution, "float32", float, float)
for_each_convolution(instantiate_convolution, "float16", half, half)
for_each_convolution(instantiate_convolution, "bfloat16", bfloat, bfloat)
instantiate_direct("float32", float)
instantiate_direct("float16", half)
instantiate_direct("bfloat16", bfloat)
