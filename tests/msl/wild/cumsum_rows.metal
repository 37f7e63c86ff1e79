// Running sums of long rows, forward or backward: a template kernel declared by its types.
#include <metal_stdlib>
using namespace metal;
#define N_READS 4
template <typename T, bool reverse, bool exclusive> kernel void scan(device const T* in,
    device T* out, constant int& n,
    uint row [[threadgroup_position_in_grid]], uint lid [[thread_position_in_threadgroup]],
        uint lsize [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]],
        uint sgs [[simdgroups_per_threadgroup]]) {
    threadgroup float totals[32];
    float carry = 0;
    const int step = lsize * N_READS;
    for (int base = 0; base < n; base += step) {
        float v[N_READS] = {0, 0, 0, 0};
        int first = base + int(lid) * N_READS;
        for (int i = 0; i < N_READS; i++) if (first + i < n) {
            int at = reverse ? n - 1 - (first + i) : first + i;
            v[i] = in[row * n + at];
            if (i) v[i] += v[i - 1];
        } else if (i) v[i] = v[i - 1];
        float before = simd_prefix_exclusive_sum(v[N_READS - 1]);
        if (lane == 31) totals[sg] = before + v[N_READS - 1];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (sg == 0) totals[lane] = simd_prefix_exclusive_sum(lane < sgs ? totals[lane] : 0.0f);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float offset = carry + totals[sg] + before;
        for (int i = 0; i < N_READS; i++) if (first + i < n) {
            int at = reverse ? n - 1 - (first + i) : first + i;
            out[row * n + at] = T(offset + (exclusive ? (i ? v[i - 1] : 0) : v[i]));
        }
        if (lid == lsize - 1) totals[31] = offset + v[N_READS - 1];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        carry = totals[31];
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}
template [[host_name("scan_f32")]] kernel void scan<float, false, false>(device const float*,
    device float*, constant int&, uint, uint, uint, uint, uint, uint);
template [[host_name("scan_f16_reverse_exclusive")]] kernel void scan<half, true,
    true>(device const half*, device half*, constant int&, uint, uint, uint, uint, uint, uint);
