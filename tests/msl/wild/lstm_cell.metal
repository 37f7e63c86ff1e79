// An LSTM cell: structured bindings, a struct of gates by value, overloads for scalars and vectors.
#include <metal_stdlib>
using namespace metal;
namespace act {
    inline float sigmoid(float x) { return 1.0 / (1.0 + exp(-x)); }
    inline float4 sigmoid(float4 x) { return 1.0 / (1.0 + exp(-x)); }
}
struct Gates { float i, f, g, o; };
static inline Gates gates_at(device const float* w_ih, device const float* w_hh,
    device const float* b,
                             device const float* x, device const float* h, uint H, uint I,
                                 uint j) {
    float acc[4] = {b[j], b[H + j], b[2 * H + j], b[3 * H + j]};
    for (uint g = 0; g < 4; g++) {
        device const float* wi = w_ih + (g * H + j) * I;
        device const float* wh = w_hh + (g * H + j) * H;
        for (uint k = 0; k < I; k++) acc[g] += wi[k] * x[k];
        for (uint k = 0; k < H; k++) acc[g] += wh[k] * h[k];
    }
    return Gates{acc[0], acc[1], acc[2], acc[3]};
}
[[kernel]] void lstm_cell(device const float* x [[buffer(0)]],
    device const float* h [[buffer(1)]],
    device const float* c [[buffer(2)]], device const float* w_ih [[buffer(3)]],
        device const float* w_hh [[buffer(4)]],
    device const float* bias [[buffer(5)]], device float* h_out [[buffer(6)]],
        device float* c_out [[buffer(7)]],
    constant uint2& dims [[buffer(8)]], ushort2 pos [[thread_position_in_grid]]) {
    const struct { uint in, hidden; } d = {dims.x, dims.y};
    const auto [I, H] = d;
    if (pos.x >= H) return;
    Gates g = gates_at(w_ih, w_hh, bias, x + pos.y * I, h + pos.y * H, H, I, pos.x);
    uint at = pos.y * H + pos.x;
    float4 s = act::sigmoid(float4(g.i, g.f, g.o, 0));
    float cell = s[1] * c[at] + s[0] * tanh(g.g);
    c_out[at] = cell;
    h_out[at] = s.z * tanh(cell);
}
