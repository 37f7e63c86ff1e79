// A matrix product of halves with 2 by 2 SIMD-group matrices in each SIMD-group.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

kernel void f(
    device const half* A [[buffer(0)]],
    device const half* B [[buffer(1)]],
    device half* C [[buffer(2)]],
    constant uint& M [[buffer(3)]],
    constant uint& N [[buffer(4)]],
    constant uint& K [[buffer(5)]],
    uint2 tgid [[threadgroup_position_in_grid]],
    uint sgid [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_matrix<float,8,8> acc[2][2];
  for (int i=0;i<2;i++) for (int j=0;j<2;j++) acc[i][j] = simdgroup_matrix<float,8,8>(0);
  const uint row0 = tgid.y*32 + (sgid/2)*16, col0 = tgid.x*32 + (sgid%2)*16;
  for (uint k=0;k<K;k+=8) {
    simdgroup_half8x8 a[2], b[2];
    for (int i=0;i<2;i++) {
      simdgroup_load(a[i], A + (row0+i*8)*K + k, K);
      simdgroup_load(b[i], B + k*N + col0 + i*8, N);
    }
    for (int i=0;i<2;i++) for (int j=0;j<2;j++) simdgroup_multiply_accumulate(acc[i][j], a[i],
        b[j], acc[i][j]);
  }
  threadgroup float stage[4][64];
  for (int i=0;i<2;i++) for (int j=0;j<2;j++) {
    simdgroup_store(acc[i][j], stage[sgid], 8);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint e=lane;e<64;e+=32) C[(row0+i*8+e/8)*N + col0+j*8+e%8] = half(stage[sgid][e]);
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}
