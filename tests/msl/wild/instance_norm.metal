// Normalised planes of half4: a template that sums by shuffles and memory given at launch.
#include <metal_stdlib>
using namespace metal;
#define SIMD 32
template <typename T> static T block_sum(T v, threadgroup T* scratch, uint lane, uint warp,
    uint warps) {
    for (uint o = SIMD / 2; o; o >>= 1) v += simd_shuffle_down(v, o);
    if (lane == 0) scratch[warp] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (warp == 0) {
        v = lane < warps ? scratch[lane] : T(0);
        for (uint o = SIMD / 2; o; o >>= 1) v += simd_shuffle_down(v, o);
        if (lane == 0) scratch[0] = v;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    T r = scratch[0];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return r;
}
kernel void instance_norm(device const half4* x [[buffer(0)]], device half4* y [[buffer(1)]],
        constant uint& hw4 [[buffer(2)]], constant float& eps [[buffer(3)]],
        threadgroup float2* shared [[threadgroup(0)]],
        uint plane [[threadgroup_position_in_grid]], uint t [[thread_index_in_threadgroup]],
        uint n [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
        uint warp [[simdgroup_index_in_threadgroup]], uint warps [[simdgroups_per_threadgroup]]) {
    x += plane * hw4; y += plane * hw4;
    float2 s = 0;
    for (uint i = t; i < hw4; i += n) {
        float4 v = float4(x[i]);
        s += float2(v.x + v.y + v.z + v.w, dot(v, v));
    }
    s = block_sum(s, shared, lane, warp, warps) / (4.0f * hw4);
    const float mean = s.x, rstd = rsqrt(max(s.y - mean * mean, 0.0f) + eps);
    for (uint i = t; i < hw4; i += n) y[i] = half4((float4(x[i]) - mean) * rstd);
}
