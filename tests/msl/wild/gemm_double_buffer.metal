// A product by SIMD-group matrices from two buffers of tiles, of which one is loaded ahead.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
constant constexpr int BM = 32, BN = 32, BK = 16, PAD = 8;
static_assert(BM % 8 == 0 && BN % 8 == 0, "tiles of 8");
template <typename T, int ROWS, int COLS, int LD>
inline void load_tile(threadgroup T (&dst)[ROWS][LD], const device T* src, int ld, int r0,
    int c0, int rmax, int cmax, uint t) {
    for (int i = int(t); i < ROWS * COLS; i += 128) {
        int r = i / COLS, c = i % COLS;
        dst[r][c] = (r0 + r < rmax && c0 + c < cmax) ? src[(r0 + r) * ld + c0 + c] : T(0);
    }
}
kernel void gemm(const device half* A, const device half* B, device float* C, constant int3& mnk,
                 uint2 tg [[threadgroup_position_in_grid]],
                     uint t [[thread_index_in_threadgroup]],
                 uint sg [[simdgroup_index_in_threadgroup]]) {
    threadgroup half As[2][BM][BK + PAD];
    threadgroup half Bs[2][BK][BN + PAD];
    threadgroup float Cs[BM][BN];
    int M = mnk[0], N = mnk[1], K = mnk[2];
    int m0 = tg.y * BM, n0 = tg.x * BN;
    simdgroup_matrix<float, 8, 8> acc[2][2];
    for (int i = 0; i < 2; ++i) for (int j = 0; j < 2; ++j) acc[i][j] =
        make_filled_simdgroup_matrix<float, 8, 8>(0.f);
    const int sm = (sg / 2) * 16, sn = (sg % 2) * 16;
    load_tile<half, BM, BK, BK + PAD>(As[0], A, K, m0, 0, M, K, t);
    load_tile<half, BK, BN, BN + PAD>(Bs[0], B, N, 0, n0, K, N, t);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int k = 0, buf = 0; k < K; k += BK, buf ^= 1) {
        if (k + BK < K) {
            load_tile<half, BM, BK, BK + PAD>(As[buf ^ 1], A, K, m0, k + BK, M, K, t);
            load_tile<half, BK, BN, BN + PAD>(Bs[buf ^ 1], B, N, k + BK, n0, K, N, t);
        }
        #pragma unroll
        for (int kk = 0; kk < BK; kk += 8) {
            simdgroup_half8x8 a[2], b[2];
            for (int i = 0; i < 2; ++i) simdgroup_load(a[i], &As[buf][sm + 8 * i][kk], BK + PAD);
            for (int j = 0; j < 2; ++j) simdgroup_load(b[j], &Bs[buf][kk][sn + 8 * j], BN + PAD);
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 2; ++j) simdgroup_multiply_accumulate(acc[i][j], a[i], b[j],
                    acc[i][j]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (int i = 0; i < 2; ++i) for (int j = 0; j < 2; ++j)
        simdgroup_store(acc[i][j], &Cs[sm + 8 * i][sn + 8 * j], BN);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = t; i < BM * BN; i += 128) {
        int r = i / BN, c = i % BN;
        if (m0 + r < M && n0 + c < N) C[(m0 + r) * N + n0 + c] = (&Cs[0][0])[i];
    }
}
