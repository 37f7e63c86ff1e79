// Function constants, constants computed from them, and buffers that depend on them.
#include <metal_stdlib>
using namespace metal;

constant bool has_bias [[function_constant(0)]];
constant float scale [[function_constant(3)]];
constant float chosen = is_function_constant_defined(scale) ? scale : 0.25;
constant float doubled = has_bias ? 2 * chosen : chosen;

namespace shifted {
kernel void affine(device const float* x    [[buffer(0)]],
                   device const float* bias [[buffer(1), function_constant(has_bias)]],
                   device float* y          [[buffer(2)]],
                   uint i                   [[thread_position_in_grid]]) {
  y[i] = x[i] * doubled;
  if (has_bias) y[i] += bias[i];
}
}  // namespace shifted

kernel void copies(device const float* x, device float* y, uint i [[thread_position_in_grid]]) {
  y[i] = x[i];
}
