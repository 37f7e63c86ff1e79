// A product of tiles, GELU and the sums of rows in one kernel; floats added to a plain buffer.
#include <metal_stdlib>
using namespace metal;
using namespace metal;

constant constexpr float kInvSqrt2 = M_SQRT1_2_F;
constexpr constant uint TILE = 16;

static inline float gelu_exact(float x) { return 0.5f * x * (1.0f + tanh(0.7978845608f * (x +
    0.044715f * x * x * x))); }

kernel void gemm_gelu_rowsum(device const float* A, device const float* B,
    device const float* bias,
                             device float* row_sums, constant uint3& shape,
                             uint2 tid [[thread_position_in_threadgroup]],
                                 uint2 gid [[threadgroup_position_in_grid]],
                             uint lane [[thread_index_in_simdgroup]])
{
    const uint M = shape.x, N = shape.y, K = shape.z;
    threadgroup float As[TILE][TILE + 1], Bs[TILE][TILE + 1];
    uint row = gid.y * TILE + tid.y, col = gid.x * TILE + tid.x;
    float acc = 0.f;
    for (uint k0 = 0; k0 < K; k0 += TILE) {
        As[tid.y][tid.x] = (row < M && k0 + tid.x < K) ? A[row * K + k0 + tid.x] : 0;
        Bs[tid.y][tid.x] = (col < N && k0 + tid.y < K) ? B[(k0 + tid.y) * N + col] : 0;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        #pragma unroll(4)
        for (uint k = 0; k < TILE; ++k) acc = fma(As[tid.y][k], Bs[k][tid.x], acc);
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    float v = (row < M && col < N) ? gelu_exact(acc + bias[col]) : 0.0f;
    // 16 lanes hold one row
    for (ushort offset = TILE / 2; offset > 0; offset >>= 1) v += simd_shuffle_down(v, offset);
    if ((lane & (TILE - 1)) == 0 && row < M)
        atomic_fetch_add_explicit((device atomic_float*)&row_sums[row], v, memory_order_relaxed);
}
