// Group norm by Welford's way: a struct with operators, shuffled member by member.
#include <metal_stdlib>
using namespace metal;
struct Welford {
    float mean = 0, m2 = 0, count = 0;
    void push(float x) { count += 1; float d = x - mean; mean += d / count; m2 += d * (x -
        mean); }
    Welford operator+(const thread Welford& o) const {
        Welford r;
        r.count = count + o.count;
        if (r.count == 0) return r;
        float d = o.mean - mean;
        r.mean = mean + d * o.count / r.count;
        r.m2 = m2 + o.m2 + d * d * count * o.count / r.count;
        return r;
    }
    thread Welford& operator+=(const thread Welford& o) { return *this = *this + o; }
};
static Welford lane_xor(const thread Welford& w, ushort mask) {
    Welford r;
    r.mean = simd_shuffle_xor(w.mean, mask), r.m2 = simd_shuffle_xor(w.m2, mask),
        r.count = simd_shuffle_xor(w.count, mask);
    return r;
}
kernel void group_norm(device const float* x, device float* y, device const float* gamma,
    device const float* beta,
    constant int4& d /* N, C, HW, G */, constant float& eps,
        uint2 g [[threadgroup_position_in_grid]],
    uint2 tid [[thread_position_in_threadgroup]], uint2 tgs [[threads_per_threadgroup]],
        uint lane [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]]) {
    threadgroup Welford parts[32];
    const int per = d.y / d.w * d.z;
    const int base = (g.y * d.w + g.x) * per;
    Welford w;
    for (int i = tid.x; i < per; i += tgs.x) w.push(x[base + i]);
    for (ushort m = 1; m < 32; m <<= 1) w += lane_xor(w, m);
    if (lane == 0) parts[sg] = w;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    Welford all;
    for (uint i = 0; i < tgs.x / 32; ++i) { Welford part = parts[i]; all += part; }
    const float scale = rsqrt(all.m2 / all.count + eps);
    for (int i = tid.x; i < per; i += tgs.x) {
        int c = g.x * (d.y / d.w) + i / d.z;
        y[base + i] = (x[base + i] - all.mean) * scale * gamma[c] + beta[c];
    }
}
