// A depthwise convolution from a tile with its border; macros and ushort positions.
#include <metal_stdlib>
using namespace metal;
#define T 16
#define R 1
#define IDX(c, h, w) (((c) * H + (h)) * W + (w))
kernel void depthwise(device const float* x, device const float* w, device float* y,
    constant int3& chw,
    ushort3 t [[thread_position_in_threadgroup]], ushort3 g [[threadgroup_position_in_grid]]) {
    const int C = chw.x, H = chw.y, W = chw.z, c = g.z;
    threadgroup float tile[T + 2 * R][T + 2 * R];
    (void)C;
    for (ushort yy = t.y; yy < T + 2 * R; yy += T)
        for (ushort xx = t.x; xx < T + 2 * R; xx += T) {
            int h = g.y * T + yy - R, ww = g.x * T + xx - R;
            bool inside = h >= 0 && h < H && ww >= 0 && ww < W;
            tile[yy][xx] = inside ? x[IDX(c, h, ww)] : 0.0h;
        }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int h = g.y * T + t.y, ww = g.x * T + t.x;
    if (h >= H || ww >= W) return;
    float3x3 k = float3x3(float3(w[c * 9], w[c * 9 + 1], w[c * 9 + 2]), float3(w[c * 9 + 3],
        w[c * 9 + 4], w[c * 9 + 5]), float3(w[c * 9 + 6], w[c * 9 + 7], w[c * 9 + 8]));
    float s = 0;
    for (int i = 0; i < 3; ++i) s += dot(k[i], float3(tile[t.y + i][t.x],
        tile[t.y + i][t.x + 1], tile[t.y + i][t.x + 2]));
    y[IDX(c, h, ww)] = s;
}
#undef T
