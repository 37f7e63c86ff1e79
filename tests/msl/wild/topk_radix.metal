// The largest of each row by counting digits of ordered bits with threadgroup atomics.
#include <metal_stdlib>
using namespace metal;
inline uint ordered(float f) { uint u = as_type<uint>(f); return u ^ ((u >> 31) ? 0xffffffffu :
    0x80000000u); }
inline float unordered(uint u) { return as_type<float>(u ^ ((u & 0x80000000u) ? 0x80000000u :
    0xffffffffu)); }
kernel void topk(device const float* x [[buffer(0)]], device float* values [[buffer(1)]],
    device int* indices [[buffer(2)]],
                 constant uint& n [[buffer(3)]], constant uint& k [[buffer(4)]],
                 uint row [[threadgroup_position_in_grid]],
                     uint tid [[thread_position_in_threadgroup]],
                 uint nt [[threads_per_threadgroup]]) {
    threadgroup atomic_uint hist[256];
    threadgroup uint prefix, remaining;
    threadgroup atomic_uint taken;
    x += row * n;
    if (tid == 0) { prefix = 0; remaining = k; atomic_store_explicit(&taken, 0,
        memory_order_relaxed); }
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (uint b = tid; b < 256; b += nt) atomic_store_explicit(&hist[b], 0u,
            memory_order_relaxed);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        const uint mask = shift == 24 ? 0 : (0xffffffffu << (shift + 8));
        for (uint i = tid; i < n; i += nt) {
            uint key = ordered(x[i]);
            if ((key & mask) == prefix) atomic_fetch_add_explicit(&hist[(key >> shift) & 0xff],
                1u, memory_order_relaxed);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (tid == 0) {
            uint left = remaining;
            int b = 255;
            for (; b > 0; --b) {
                uint c = atomic_load_explicit(&hist[b], memory_order_relaxed);
                if (c >= left) break;
                left -= c;
            }
            prefix |= uint(b) << shift;
            remaining = left;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const uint kth = prefix;
    for (uint i = tid; i < n; i += nt) if (ordered(x[i]) > kth) {
        uint at = atomic_fetch_add_explicit(&taken, 1u, memory_order_relaxed);
        values[row * k + at] = x[i]; indices[row * k + at] = int(i);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
    if (tid == 0) {
        uint at = atomic_load_explicit(&taken, memory_order_relaxed);
        for (uint i = 0; i < n && at < k; ++i) if (ordered(x[i]) == kth) { values[row * k + at]
            = unordered(kth); indices[row * k + at++] = i; }
    }
}
