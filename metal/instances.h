// Which variants of the kernels are compiled, as macros that instantiate each of a family. Written
// from parameters.json by `python -m metalgen.ops.instances`; a test fails where it is stale.
#pragma once

// rows, columns, depth, down, across, width, matrices
#define for_each_gemm(instantiate, ...) \
  instantiate(__VA_ARGS__, "64x64x16_2x2_v4_m1", 64, 64, 16, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "128x64x16_4x2_v4_m1", 128, 64, 16, 4, 2, 4, 1) \
  instantiate(__VA_ARGS__, "64x64x32_2x2_v4_m1", 64, 64, 32, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "32x64x32_1x2_v4_m1", 32, 64, 32, 1, 2, 4, 1) \
  instantiate(__VA_ARGS__, "32x32x32_2x2_v4_m1", 32, 32, 32, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "16x64x32_1x4_v4_m1", 16, 64, 32, 1, 4, 4, 1) \
  instantiate(__VA_ARGS__, "64x64x16_2x2_v1_m1", 64, 64, 16, 2, 2, 1, 1) \
  instantiate(__VA_ARGS__, "64x64x32_8x2_v4_m0", 64, 64, 32, 8, 2, 4, 0) \
  instantiate(__VA_ARGS__, "32x64x32_4x2_v4_m0", 32, 64, 32, 4, 2, 4, 0)

// rows
#define for_each_gemv_rows(instantiate, ...) \
  instantiate(__VA_ARGS__, "4", 4) \
  instantiate(__VA_ARGS__, "1", 1) \
  instantiate(__VA_ARGS__, "8", 8)

// simdgroups
#define for_each_gemv_columns(instantiate, ...) \
  instantiate(__VA_ARGS__, "s8", 8) \
  instantiate(__VA_ARGS__, "s16", 16) \
  instantiate(__VA_ARGS__, "s4", 4)

// rows, columns, depth, down, across, width, matrices
#define for_each_convolution(instantiate, ...) \
  instantiate(__VA_ARGS__, "64x64x16_2x2_v4_m1", 64, 64, 16, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "32x64x16_1x2_v4_m1", 32, 64, 16, 1, 2, 4, 1) \
  instantiate(__VA_ARGS__, "32x32x32_2x2_v4_m1", 32, 32, 32, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "64x64x16_8x2_v4_m0", 64, 64, 16, 8, 2, 4, 0)

// tile
#define for_each_winograd(instantiate, ...) \
  instantiate(__VA_ARGS__, "2", 2) \
  instantiate(__VA_ARGS__, "4", 4)

// rows, columns, depth, down, across, width, matrices
#define for_each_quantized_gemm(instantiate, ...) \
  instantiate(__VA_ARGS__, "64x64x16_2x2_v4_m1", 64, 64, 16, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "32x32x32_2x2_v4_m1", 32, 32, 32, 2, 2, 4, 1) \
  instantiate(__VA_ARGS__, "64x64x32_8x2_v4_m0", 64, 64, 32, 8, 2, 4, 0)

// outputs
#define for_each_quantized_gemv(instantiate, ...) \
  instantiate(__VA_ARGS__, "4", 4)

// size, block, simdgroups
#define for_each_attention(instantiate, ...) \
  instantiate(__VA_ARGS__, "d32_k32_s4", 32, 32, 4) \
  instantiate(__VA_ARGS__, "d64_k32_s4", 64, 32, 4) \
  instantiate(__VA_ARGS__, "d64_k16_s4", 64, 16, 4) \
  instantiate(__VA_ARGS__, "d96_k32_s4", 96, 32, 4) \
  instantiate(__VA_ARGS__, "d128_k32_s4", 128, 32, 4) \
  instantiate(__VA_ARGS__, "d128_k16_s4", 128, 16, 4) \
  instantiate(__VA_ARGS__, "d256_k16_s4", 256, 16, 4)

// size, simdgroups
#define for_each_attention_vector(instantiate, ...) \
  instantiate(__VA_ARGS__, "d128_s8", 128, 8) \
  instantiate(__VA_ARGS__, "d128_s4", 128, 4) \
  instantiate(__VA_ARGS__, "d256_s8", 256, 8)

// held
#define for_each_softmax(instantiate, ...) \
  instantiate(__VA_ARGS__, "1", 1) \
  instantiate(__VA_ARGS__, "2", 2) \
  instantiate(__VA_ARGS__, "4", 4)

// steps
#define for_each_selective_scan(instantiate, ...) \
  instantiate(__VA_ARGS__, "4", 4) \
  instantiate(__VA_ARGS__, "1", 1) \
  instantiate(__VA_ARGS__, "8", 8)
