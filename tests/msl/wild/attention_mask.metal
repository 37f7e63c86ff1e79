// Attention with an online softmax; mask, causality and width are function constants.
#include <metal_stdlib>
using namespace metal;
constant bool has_mask [[function_constant(0)]];
constant bool causal [[function_constant(1)]];
constant int D [[function_constant(2)]];
#define MAX_D 64
kernel void sdpa(device const half* q, device const half* k, device const half* v,
                 device const uchar* mask [[buffer(3), function_constant(has_mask)]],
                 device half* o [[buffer(4)]], constant float& scale [[buffer(5)]],
                     constant uint2& lens [[buffer(6)]],
                 uint3 gid [[thread_position_in_grid]]) {
    const uint L = lens.x, S = lens.y;
    if (gid.x >= L) return;
    q += (gid.y * L + gid.x) * D; k += gid.y * S * D; v += gid.y * S * D;
    float4 qv[MAX_D / 4], acc[MAX_D / 4];
    const device half4* q4 = reinterpret_cast<const device half4*>(q);
    for (int i = 0; i < D / 4; ++i) { qv[i] = float4(q4[i]) * scale; acc[i] = 0; }
    float m = -INFINITY, l = 0;
    for (uint s = 0; s < S; ++s) {
        if (causal && s > gid.x) break;
        if (has_mask && !mask[gid.x * S + s]) continue;
        const device half4* k4 = (const device half4*)(k + s * D);
        float score = 0;
        for (int i = 0; i < D / 4; ++i) score += dot(qv[i], float4(k4[i]));
        const float m_new = max(m, score);
        const float corr = fast::exp(m - m_new), p = fast::exp(score - m_new);
        l = l * corr + p;
        const device half4* v4 = (const device half4*)(v + s * D);
        for (int i = 0; i < D / 4; ++i) acc[i] = acc[i] * corr + p * float4(v4[i]);
        m = m_new;
    }
    device half4* o4 = reinterpret_cast<device half4*>(o + (gid.y * L + gid.x) * D);
    const float inv = l > 0 ? 1 / l : 0;
    for (int i = 0; i < D / 4; ++i) o4[i] = half4(acc[i] * inv);
}
