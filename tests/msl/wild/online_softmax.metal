// Softmax of bfloat rows from pairs of maximum and sum that shuffles merge.
#include <metal_stdlib>
using namespace metal;
inline float2 merge(float2 a, float2 b) {
    float m = max(a.x, b.x);
    return m == -INFINITY ? float2(m, 0) : float2(m, a.y * exp(a.x - m) + b.y * exp(b.x - m));
}
kernel void softmax_online(device const bfloat* x [[buffer(0)]], device bfloat* y [[buffer(1)]],
    constant uint& n [[buffer(2)]],
    uint tgid [[threadgroup_position_in_grid]], uint lid [[thread_position_in_threadgroup]],
        uint tgs [[threads_per_threadgroup]],
    uint simd_lane [[thread_index_in_simdgroup]],
        uint simd_id [[simdgroup_index_in_threadgroup]]) {
    threadgroup float2 shared_md[32];
    float2 md = float2(-INFINITY, 0);
    for (uint i = lid; i < n; i += tgs) md = merge(md, float2(float(x[tgid * n + i]), 1));
    for (uint off = 16; off >= 1; off >>= 1) md = merge(md, simd_shuffle_down(md, off));
    if (simd_lane == 0) shared_md[simd_id] = md;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    md = simd_lane < (tgs + 31) / 32 ? shared_md[simd_lane] : float2(-INFINITY, 0);
    for (ushort off = 16; off >= 1; off >>= 1) md = merge(md, simd_shuffle_xor(md, off));
    const float inv = 1 / md.y;
    for (uint i = lid; i < n; i += tgs) y[tgid * n + i] = bfloat(exp(float(x[tgid * n + i]) -
        md.x) * inv);
}
