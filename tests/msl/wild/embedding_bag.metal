// Bags of packed_float3 rows by 64-bit indices; a mode given as uchar.
#include <metal_stdlib>
using namespace metal;
kernel void embedding_bag(device const int64_t* indices [[buffer(0)]],
    device const long* offsets [[buffer(1)]],
    device const packed_float3* table [[buffer(2)]], device packed_float3* out [[buffer(3)]],
        constant int64_t& total [[buffer(4)]],
    constant uint& bags [[buffer(5)]], constant uchar& mode [[buffer(6)]],
        uint bag [[thread_position_in_grid]]) {
    if (bag >= bags) return;
    int64_t start = offsets[bag], end = bag + 1 < bags ? int64_t(offsets[bag + 1]) : total;
    float3 acc = mode == 2 ? float3(-INFINITY) : float3(0);
    for (auto i = start; i < end; ++i) {
        const float3 row = table[indices[i]];
        switch (mode) { case 0: case 1: acc += row; break; case 2: acc = max(acc,
            row); break; default: break; }
    }
    if (mode == 1 && end > start) acc /= end - start;
    out[bag] = select(acc, float3(0), bool3(end == start));
}
