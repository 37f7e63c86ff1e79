// A matrix product through padded tiles in threadgroup memory, of any size.
#include <metal_stdlib>
using namespace metal;

#define TILE 16
kernel void f(
    device const float* A [[buffer(0)]],
    device const float* B [[buffer(1)]],
    device float* C [[buffer(2)]],
    constant uint3& dims [[buffer(3)]],
    uint2 gid [[thread_position_in_grid]],
    uint2 tid [[thread_position_in_threadgroup]],
    uint2 tgid [[threadgroup_position_in_grid]]) {
  threadgroup float As[TILE][TILE+1];
  threadgroup float Bs[TILE][TILE+1];
  const uint M = dims.x, N = dims.y, K = dims.z;
  const uint row = tgid.y*TILE+tid.y, col = tgid.x*TILE+tid.x;
  float acc = 0;
  for (uint t = 0; t < (K + TILE - 1) / TILE; t++) {
    As[tid.y][tid.x] = (row < M && t*TILE+tid.x < K) ? A[row*K + t*TILE+tid.x] : 0.0f;
    Bs[tid.y][tid.x] = (col < N && t*TILE+tid.y < K) ? B[(t*TILE+tid.y)*N + col] : 0.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (uint k = 0; k < TILE; ++k) acc = fma(As[tid.y][k], Bs[k][tid.x], acc);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (row < M && col < N) C[row*N+col] = acc;
}
