// Two-dimensional pooling: the largest or the mean element of windows, at fixed steps or adapted to
// the result's size.
#include <metal_stdlib>

using namespace metal;

constant bool is_max [[function_constant(0)]];
constant bool is_adaptive [[function_constant(1)]];

struct PoolShape {
  uint height, width;          // of a plane of x
  uint out_height, out_width;
  uint kernel_y, kernel_x;
  uint stride_y, stride_x;
  int padding_y, padding_x;
  uint dilation_y, dilation_x;
  uint counts_padding;         // whether a mean divides by the padding's elements too
};

// From `begin` up to `end` in steps of `step`; `size` counts padding, but nothing beyond it.
struct Window {
  int begin, end, step;
  int size;
};

static Window window_at(uint place, uint length, uint out_length, uint kernel_size, uint stride,
                        int padding, uint dilation) {
  if (is_adaptive) {  // floor(place * length / out) to ceil((place + 1) * length / out)
    const int begin = int(place * length / out_length);
    const int end = int(((place + 1) * length + out_length - 1) / out_length);
    return {begin, end, 1, end - begin};
  }
  const int begin = int(place * stride) - padding;
  const int end = begin + int((kernel_size - 1) * dilation) + 1;
  const int size = min(end, int(length) + padding) - begin;
  int inside = begin;
  while (inside < 0) inside += int(dilation);
  return {inside, min(end, int(length)), int(dilation), size};
}

// One thread for each result: (out_width, out_height, planes). A maximum is NaN if an element is.
template <typename T>
kernel void pool(device const T* x         [[buffer(0)]],
                 device T* y               [[buffer(1)]],
                 constant PoolShape& shape [[buffer(2)]],
                 uint3 place               [[thread_position_in_grid]]) {
  x += size_t(place.z) * shape.height * shape.width;
  const Window down = window_at(place.y, shape.height, shape.out_height, shape.kernel_y,
                                shape.stride_y, shape.padding_y, shape.dilation_y);
  const Window across = window_at(place.x, shape.width, shape.out_width, shape.kernel_x,
                                  shape.stride_x, shape.padding_x, shape.dilation_x);
  float result = is_max ? -INFINITY : 0.0f;
  int count = 0;
  for (int row = down.begin; row < down.end; row += down.step) {
    for (int column = across.begin; column < across.end; column += across.step) {
      const float value = float(x[size_t(row) * shape.width + column]);
      if (is_max) {
        result = value > result || isnan(value) ? value : result;
      } else {
        result += value;
        ++count;
      }
    }
  }
  if (!is_max) result /= float(shape.counts_padding ? down.size * across.size : count);
  y[(size_t(place.z) * shape.out_height + place.y) * shape.out_width + place.x] = T(result);
}

template [[host_name("pool_float32")]] kernel decltype(pool<float>) pool<float>;
template [[host_name("pool_float16")]] kernel decltype(pool<half>) pool<half>;
template [[host_name("pool_bfloat16")]] kernel decltype(pool<bfloat>) pool<bfloat>;
