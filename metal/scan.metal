// The selective scan of state-space models (Gu and Dao, "Mamba", 2023):
// h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t and y_t = C_t h_t + D u_t, gated by silu(z_t).
#include <metal_stdlib>

#include "activation.h"
#include "instances.h"

using namespace metal;

constant bool has_skip [[function_constant(0)]];          // D
constant bool has_gate [[function_constant(1)]];          // z
constant bool has_delta_bias [[function_constant(2)]];
constant bool has_initial [[function_constant(3)]];
constant bool is_softplus [[function_constant(4)]];       // delta = log(1 + exp(delta + bias))

constant constexpr uint kStates =
    256;  // as metalgen.ops.scan has it: the most that a channel may have

struct ScanShape {
  uint channels, length, states;
  uint channels_per_group;                               // channels that share B and C
  ulong u_batch, u_channel, u_time;                      // elements from one to the next
  ulong delta_batch, delta_channel, delta_time;
  ulong gate_batch, gate_channel, gate_time;
  ulong b_batch, b_group, b_state, b_time;
  ulong c_batch, c_group, c_state, c_time;
};

// One SIMD-group for each channel of each sequence: (channels, batch) threadgroups of 32 threads. A
// lane has `steps` moments of 32 * steps, and the recurrence, which is associative, runs over the
// lanes by doubling (Blelloch, "Prefix Sums and Their Applications", 1990).
template <typename T, uint steps>
kernel void selective_scan(
    device const T* u              [[buffer(0)]],
    device const T* delta          [[buffer(1)]],
    device const float* a          [[buffer(2)]],
    device const T* b              [[buffer(3)]],
    device const T* c              [[buffer(4)]],
    device const float* skip       [[buffer(5), function_constant(has_skip)]],
    device const T* gate           [[buffer(6), function_constant(has_gate)]],
    device const float* delta_bias [[buffer(7), function_constant(has_delta_bias)]],
    device const float* initial    [[buffer(8), function_constant(has_initial)]],
    device T* y                    [[buffer(9)]],
    device float* last             [[buffer(10)]],
    constant ScanShape& shape      [[buffer(11)]],
    uint2 group                    [[threadgroup_position_in_grid]],
    uint lane                      [[thread_index_in_simdgroup]]) {
  threadgroup float state[kStates];
  const uint channel = group.x;
  const size_t sequence = size_t(group.y) * shape.channels + channel;
  u += group.y * shape.u_batch + channel * shape.u_channel;
  delta += group.y * shape.delta_batch + channel * shape.delta_channel;
  if (has_gate) gate += group.y * shape.gate_batch + channel * shape.gate_channel;
  a += size_t(channel) * shape.states;
  b += group.y * shape.b_batch + channel / shape.channels_per_group * shape.b_group;
  c += group.y * shape.c_batch + channel / shape.channels_per_group * shape.c_group;
  y += sequence * shape.length;
  for (uint n = lane; n < shape.states; n += 32)
    state[n] = has_initial ? initial[sequence * shape.states + n] : 0.0f;
  simdgroup_barrier(mem_flags::mem_threadgroup);  // the state before the first moment is there

  for (uint first = 0; first < shape.length; first += 32 * steps) {
    float time_step[steps], input[steps], result[steps];
    for (uint s = 0; s < steps; ++s) {
      const uint t = first + lane * steps + s;
      const bool is_there = t < shape.length;
      input[s] = is_there ? float(u[t * shape.u_time]) : 0.0f;
      float d = is_there ? float(delta[t * shape.delta_time]) : 0.0f;
      if (has_delta_bias) d += delta_bias[channel];
      if (is_softplus) d = softplus(d);
      time_step[s] = is_there ? d : 0.0f;  // a moment that is not there changes nothing
      result[s] = has_skip ? skip[channel] * input[s] : 0.0f;
    }
    for (uint n = 0; n < shape.states; ++n) {
      float decay[steps], added[steps];
      float kept = 1.0f, h = 0.0f;  // of this lane's moments together: h -> kept h + what is added
      for (uint s = 0; s < steps; ++s) {
        const uint t = min(first + lane * steps + s, shape.length - 1);
        decay[s] = precise::exp(time_step[s] * a[n]);
        added[s] = time_step[s] == 0.0f
                       ? 0.0f
                       : time_step[s] * input[s] * float(b[n * shape.b_state + t * shape.b_time]);
        h = fma(decay[s], h, added[s]);
        kept *= decay[s];
      }
      for (ushort apart = 1; apart < 32; apart *= 2) {
        const float kept_before = simd_shuffle_up(kept, apart),
                    h_before = simd_shuffle_up(h, apart);
        if (lane >= apart) {
          h = fma(kept, h_before, h);
          kept *= kept_before;
        }
      }
      const float before = state[n];
      const float kept_until = simd_shuffle_up(kept, 1), h_until = simd_shuffle_up(h, 1);
      float now = lane == 0 ? before : fma(kept_until, before, h_until);
      for (uint s = 0; s < steps; ++s) {
        const uint t = min(first + lane * steps + s, shape.length - 1);
        now = fma(decay[s], now, added[s]);
        result[s] = fma(float(c[n * shape.c_state + t * shape.c_time]), now, result[s]);
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);  // all lanes have read the state before
      if (lane == 31) state[n] = now;
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);  // the state after these moments is there
    for (uint s = 0; s < steps; ++s) {
      const uint t = first + lane * steps + s;
      if (t < shape.length) {
        const float z = has_gate ? float(gate[t * shape.gate_time]) : 0.0f;
        y[t] = T(has_gate ? result[s] * z * logistic(z) : result[s]);
      }
    }
  }
  for (uint n = lane; n < shape.states; n += 32) last[sequence * shape.states + n] = state[n];
}

#define instantiate_scan(name, T, variant, steps)                     \
  template [[host_name("selective_scan_" name "_" variant)]] kernel   \
      decltype(selective_scan<T, steps>) selective_scan<T, steps>;

for_each_selective_scan(instantiate_scan, "float32", float)
for_each_selective_scan(instantiate_scan, "float16", half)
for_each_selective_scan(instantiate_scan, "bfloat16", bfloat)
