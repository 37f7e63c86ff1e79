// A mean added up across threads, and a largest float by compare and exchange of its bits.
#include <metal_stdlib>
using namespace metal;
inline void atomic_max_float(device atomic_uint* at, float v) {
    uint seen = atomic_load_explicit(at, memory_order_relaxed);
    while (as_type<float>(seen) < v && !atomic_compare_exchange_weak_explicit(at, &seen,
        as_type<uint>(v), memory_order_relaxed, memory_order_relaxed)) {}
}
kernel void triplet_loss(device const float* anchor, device const float* positive,
    device const float* negative,
    device float* loss, device uint* largest, constant float& margin, constant int& dim,
        constant int& batch,
    uint row [[thread_position_in_grid]]) {
    if (row >= (uint)batch) return;
    float dp = 0, dn = 0;
    const auto a = anchor + row * dim, p = positive + row * dim, n = negative + row * dim;
    for (int i = 0; i < dim; ++i) {
        float e = a[i] - p[i] + 1e-6f; dp += e * e;
        e = a[i] - n[i] + 1e-6f; dn += powr(abs(e), 2.0f);
    }
    float l = max(0.0f, sqrt(dp) - sqrt(dn) + margin);
    atomic_fetch_add_explicit(reinterpret_cast<device atomic_float*>(loss), l / float(batch),
        memory_order_relaxed);
    atomic_max_float(reinterpret_cast<device atomic_uint*>(largest), l);
}
