// y[i] = x[i] / (1 + exp(-x[i])), one element or four a thread.
#include <metal_stdlib>
using namespace metal;

kernel void silu(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
  y[i] = x[i] / (1 + exp(-x[i]));
}

kernel void silu4(device const float4* x [[buffer(0)]], device float4* y [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  y[i] = x[i] / (1 + exp(-x[i]));
}
