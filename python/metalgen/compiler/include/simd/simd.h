// Names that headers shared with a host program use for vectors and matrices.
#pragma once
#include <metal_matrix>

#define __SIMD_VECTORS(ALIAS, T)               \
  typedef T##2 ALIAS##2;                       \
  typedef T##3 ALIAS##3;                       \
  typedef T##4 ALIAS##4;
__SIMD_VECTORS(vector_char, char)
__SIMD_VECTORS(vector_uchar, uchar)
__SIMD_VECTORS(vector_short, short)
__SIMD_VECTORS(vector_ushort, ushort)
__SIMD_VECTORS(vector_int, int)
__SIMD_VECTORS(vector_uint, uint)
__SIMD_VECTORS(vector_long, long)
__SIMD_VECTORS(vector_ulong, ulong)
__SIMD_VECTORS(vector_half, half)
__SIMD_VECTORS(vector_float, float)
__SIMD_VECTORS(simd_char, char)
__SIMD_VECTORS(simd_uchar, uchar)
__SIMD_VECTORS(simd_short, short)
__SIMD_VECTORS(simd_ushort, ushort)
__SIMD_VECTORS(simd_int, int)
__SIMD_VECTORS(simd_uint, uint)
__SIMD_VECTORS(simd_long, long)
__SIMD_VECTORS(simd_ulong, ulong)
__SIMD_VECTORS(simd_half, half)
__SIMD_VECTORS(simd_float, float)
#undef __SIMD_VECTORS

typedef float2x2 matrix_float2x2;
typedef float3x3 matrix_float3x3;
typedef float4x4 matrix_float4x4;
typedef float2x2 simd_float2x2;
typedef float3x3 simd_float3x3;
typedef float4x4 simd_float4x4;

namespace simd {
using namespace metal;
}
