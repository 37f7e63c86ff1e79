// Convolution over three dimensions, as it is written or as the patches of a matrix product; fewer
// dimensions are those with sizes of 1.
#include <metal_stdlib>

#include "epilogue.h"

using namespace metal;

constant bool has_bias [[function_constant(0)]];
constant bool has_residual [[function_constant(1)]];

struct VolumeShape {
  uint groups;
  uint channels, outputs;  // of one group
  uint size[3];            // of the input: depth, height, width
  uint out_size[3];
  uint kernel_size[3];
  uint stride[3];
  int padding[3];          // before the first element
  uint dilation[3];
  int activation;
};

// Where tap (i, j, k) of the kernel falls for a result, -1 where that is beside the input.
static int position_of(uint tap, uint result, constant VolumeShape& shape, uint axis) {
  const int start = int(result * shape.stride[axis]) - shape.padding[axis];
  const int at = start + int(tap * shape.dilation[axis]);
  return at >= 0 && at < int(shape.size[axis]) ? at : -1;
}

// patches[image][channel, i, j, k][position] = x[image][channel][...]: what weights multiply.
// Threads: (positions, channels * taps, images); for one group.
template <typename T>
kernel void volume_patches(device const T* x           [[buffer(0)]],
                           device T* patches           [[buffer(1)]],
                           constant VolumeShape& shape [[buffer(2)]],
                           uint3 place                 [[thread_position_in_grid]],
                           uint3 places                [[threads_per_grid]]) {
  const uint kernel_height = shape.kernel_size[1], kernel_width = shape.kernel_size[2];
  const uint taps = shape.kernel_size[0] * kernel_height * kernel_width;
  const uint channel = place.y / taps, tap = place.y % taps;
  const uint line_tap = tap / kernel_width, row = place.x / shape.out_size[2];
  const int k = position_of(tap % kernel_width, place.x % shape.out_size[2], shape, 2);
  const int j = position_of(line_tap % kernel_height, row % shape.out_size[1], shape, 1);
  const int i = position_of(line_tap / kernel_height, row / shape.out_size[1], shape, 0);
  const size_t plane = size_t(place.z) * shape.channels + channel;
  const size_t line = (plane * shape.size[0] + uint(i)) * shape.size[1] + uint(j);
  const bool is_there = i >= 0 && j >= 0 && k >= 0;
  patches[(size_t(place.z) * places.y + place.y) * places.x + place.x] =
      is_there ? x[line * shape.size[2] + uint(k)] : T(0.0f);
}

// y[b][o] = activation(bias[o] + sum of x weight) + residual, a thread for each result. Threads:
// (out width, out depth * out height, images * groups * outputs).
template <typename T>
kernel void volume_direct(device const T* x           [[buffer(0)]],
                          device const T* weight      [[buffer(1)]],
                          device const T* bias        [[buffer(2), function_constant(has_bias)]],
                          device const T* residual [[buffer(3), function_constant(has_residual)]],
                          device T* y                 [[buffer(4)]],
                          constant VolumeShape& shape [[buffer(5)]],
                          uint3 place                 [[thread_position_in_grid]],
                          uint3 places                [[threads_per_grid]]) {
  const uint all_outputs = shape.groups * shape.outputs;
  const uint output = place.z % all_outputs;
  const uint image_group = place.z / all_outputs * shape.groups + output / shape.outputs;
  const uint plane = place.y / shape.out_size[1], row = place.y % shape.out_size[1];
  const uint taps = shape.kernel_size[0] * shape.kernel_size[1] * shape.kernel_size[2];
  weight += size_t(output) * shape.channels * taps;
  float sum = 0;
  for (uint c = 0; c < shape.channels; ++c) {
    const size_t volume = size_t(image_group) * shape.channels + c;
    for (uint i = 0; i < shape.kernel_size[0]; ++i) {
      const int z = position_of(i, plane, shape, 0);
      for (uint j = 0; j < shape.kernel_size[1]; ++j) {
        const int line = position_of(j, row, shape, 1);
        if (z >= 0 && line >= 0) {
          device const T* start =
              x + ((volume * shape.size[0] + uint(z)) * shape.size[1] + uint(line)) * shape.size[2];
          for (uint k = 0; k < shape.kernel_size[2]; ++k) {
            const int at = position_of(k, place.x, shape, 2);
            if (at >= 0) sum = fma(float(start[at]), float(weight[k]), sum);
          }
        }
        weight += shape.kernel_size[2];
      }
    }
  }
  const Epilogue<T> epilogue = {bias, residual, has_bias, has_residual, shape.activation};
  const size_t index = (size_t(place.z) * places.y + place.y) * places.x + place.x;
  y[index] = epilogue(sum, output, index);
}

#define instantiate_volume(name, T)                               \
  template [[host_name("volume_patches_" name)]] kernel           \
      decltype(volume_patches<T>) volume_patches<T>;              \
  template [[host_name("volume_direct_" name)]] kernel            \
      decltype(volume_direct<T>) volume_direct<T>;

instantiate_volume("float32", float)
instantiate_volume("float16", half)
instantiate_volume("bfloat16", bfloat)
