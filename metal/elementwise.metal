// Activations alone, and gated ones: y = activation(gate) value (Shazeer, "GLU Variants Improve
// Transformer", 2020).
#include <metal_stdlib>

#include "activation.h"
#include "vectors.h"

using namespace metal;

constant int activation [[function_constant(0)]];

static float4 activate_four(float4 x) {
  for (uint j = 0; j < 4; ++j) x[j] = activate(x[j], activation);
  return x;
}

// A thread for each four of `count` elements.
template <typename T>
kernel void activation_of(device const T* x    [[buffer(0)]],
                          device T* y          [[buffer(1)]],
                          constant uint& count [[buffer(2)]],
                          uint i               [[thread_position_in_grid]]) {
  store_four(y, i * 4, count, activate_four(load_four(x, i * 4, count)));
}

// Rows of gate and value are `gate_pitch` and `value_pitch` elements apart, as when both are halves
// of one matrix; a thread for each four elements: (ceil(columns / 4), rows).
template <typename T>
kernel void gated(device const T* gate       [[buffer(0)]],
                  device const T* value      [[buffer(1)]],
                  device T* y                [[buffer(2)]],
                  constant uint& columns     [[buffer(3)]],
                  constant uint& gate_pitch  [[buffer(4)]],
                  constant uint& value_pitch [[buffer(5)]],
                  uint2 place                [[thread_position_in_grid]]) {
  const uint i = place.x * 4;
  const float4 left = activate_four(load_four(gate + size_t(place.y) * gate_pitch, i, columns));
  const float4 right = load_four(value + size_t(place.y) * value_pitch, i, columns);
  store_four(y + size_t(place.y) * columns, i, columns, left * right);
}

#define instantiate_elementwise(name, T)                                                         \
  template [[host_name("activation_" name)]] kernel decltype(activation_of<T>) activation_of<T>; \
  template [[host_name("gated_" name)]] kernel decltype(gated<T>) gated<T>;

instantiate_elementwise("float32", float)
instantiate_elementwise("float16", half)
instantiate_elementwise("bfloat16", bfloat)
