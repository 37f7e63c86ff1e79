// One step of a recurrent layer in one direction, for all of a batch: the product with the state
// before and every gate together. The inputs' share of the gates, x, comes from one product for all
// steps, with its bias.
#include <metal_stdlib>

#include "activation.h"

using namespace metal;

constant bool has_bias [[function_constant(0)]];

struct StepShape {
  uint hidden;
  uint x_row, h_row, y_row;  // elements from one sequence of the batch to the next
};

// Each SIMD-group adds up the gates of one hidden unit of one sequence: grids of (32 * simdgroups,
// 1) threadgroups, (ceil(hidden / simdgroups), batch) of them.
constant constexpr uint kSimdgroups = 8;  // as metalgen.ops.recurrent has it

// h's share of gate number `gate` of a unit, with its bias: sum_i weight[gate * hidden + unit][i] h[i].
template <typename T>
static float gate_sum(device const T* h, device const T* weight, device const T* bias, uint gate,
                      uint unit, uint hidden, uint lane) {
  device const T* row = weight + size_t(gate * hidden + unit) * hidden;
  float sum = 0;
  for (uint i = lane; i < hidden; i += 32) sum = fma(float(row[i]), float(h[i]), sum);
  sum = simd_sum(sum);
  return has_bias ? sum + float(bias[gate * hidden + unit]) : sum;
}

// i, f, o = logistic of their gates, g = tanh of its, c = f c + i g, y = o tanh(c) (Hochreiter and
// Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers et al., 2000). c is
// changed in place.
template <typename T>
kernel void lstm_step(device const T* x          [[buffer(0)]],
                      device const T* h          [[buffer(1)]],
                      device const T* weight     [[buffer(2)]],
                      device const T* bias       [[buffer(3), function_constant(has_bias)]],
                      device float* c            [[buffer(4)]],
                      device T* y                [[buffer(5)]],
                      constant StepShape& shape  [[buffer(6)]],
                      uint2 group                [[threadgroup_position_in_grid]],
                      uint simdgroup             [[simdgroup_index_in_threadgroup]],
                      uint lane                  [[thread_index_in_simdgroup]]) {
  const uint unit = group.x * kSimdgroups + simdgroup, hidden = shape.hidden;
  if (unit >= hidden) return;
  x += size_t(group.y) * shape.x_row + unit;
  h += size_t(group.y) * shape.h_row;
  float gates[4];
  for (uint g = 0; g < 4; ++g) {
    gates[g] = gate_sum(h, weight, bias, g, unit, hidden, lane) + float(x[g * hidden]);
  }
  if (lane != 0) return;
  device float& cell = c[size_t(group.y) * hidden + unit];
  cell = logistic(gates[1]) * cell + logistic(gates[0]) * precise::tanh(gates[2]);
  y[size_t(group.y) * shape.y_row + unit] = T(logistic(gates[3]) * precise::tanh(cell));
}

// r, z = logistic of their gates, n = tanh(x_n + r h_n), y = (1 - z) n + z h (Cho et al., "Learning
// Phrase Representations using RNN Encoder-Decoder", 2014, as PyTorch has it).
template <typename T>
kernel void gru_step(device const T* x          [[buffer(0)]],
                     device const T* h          [[buffer(1)]],
                     device const T* weight     [[buffer(2)]],
                     device const T* bias       [[buffer(3), function_constant(has_bias)]],
                     device T* y                [[buffer(4)]],
                     constant StepShape& shape  [[buffer(5)]],
                     uint2 group                [[threadgroup_position_in_grid]],
                     uint simdgroup             [[simdgroup_index_in_threadgroup]],
                     uint lane                  [[thread_index_in_simdgroup]]) {
  const uint unit = group.x * kSimdgroups + simdgroup, hidden = shape.hidden;
  if (unit >= hidden) return;
  x += size_t(group.y) * shape.x_row + unit;
  h += size_t(group.y) * shape.h_row;
  float gates[3];
  for (uint g = 0; g < 3; ++g) gates[g] = gate_sum(h, weight, bias, g, unit, hidden, lane);
  if (lane != 0) return;
  const float reset = logistic(gates[0] + float(x[0]));
  const float keep = logistic(gates[1] + float(x[hidden]));
  const float fresh = precise::tanh(float(x[2 * hidden]) + reset * gates[2]);
  y[size_t(group.y) * shape.y_row + unit] = T((1 - keep) * fresh + keep * float(h[unit]));
}

// y = tanh(x + h's share), or max(0, x + h's share) (Elman, "Finding Structure in Time", 1990).
template <typename T, bool is_relu>
kernel void rnn_step(device const T* x          [[buffer(0)]],
                     device const T* h          [[buffer(1)]],
                     device const T* weight     [[buffer(2)]],
                     device const T* bias       [[buffer(3), function_constant(has_bias)]],
                     device T* y                [[buffer(4)]],
                     constant StepShape& shape  [[buffer(5)]],
                     uint2 group                [[threadgroup_position_in_grid]],
                     uint simdgroup             [[simdgroup_index_in_threadgroup]],
                     uint lane                  [[thread_index_in_simdgroup]]) {
  const uint unit = group.x * kSimdgroups + simdgroup, hidden = shape.hidden;
  if (unit >= hidden) return;
  const float own = float(x[size_t(group.y) * shape.x_row + unit]);
  h += size_t(group.y) * shape.h_row;
  const float gate = gate_sum(h, weight, bias, 0, unit, hidden, lane) + own;
  if (lane == 0) {
    y[size_t(group.y) * shape.y_row + unit] = T(is_relu ? max(gate, 0.0f) : precise::tanh(gate));
  }
}

#define instantiate(kernel_name, name, ...)            \
  template [[host_name(#kernel_name "_" name)]] kernel \
      decltype(kernel_name<__VA_ARGS__>) kernel_name<__VA_ARGS__>;
#define instantiate_steps(name, T)                 \
  instantiate(lstm_step, name, T)                  \
  instantiate(gru_step, name, T)                   \
  instantiate(rnn_step, "tanh_" name, T, false)    \
  instantiate(rnn_step, "relu_" name, T, true)

instantiate_steps("float32", float)
instantiate_steps("float16", half)
instantiate_steps("bfloat16", bfloat)
