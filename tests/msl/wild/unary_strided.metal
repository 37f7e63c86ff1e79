// Unary operations over strided tensors, kernels declared by a macro.
#include <metal_stdlib>
#include <metal_math>
using namespace metal;

METAL_FUNC uint get_strided_index(uint idx, constant size_t &num_dims, constant size_t *dims,
    constant size_t *strides) {
  uint strided_i = 0;
  for (uint d = 0; d < num_dims; d++) {
    uint dim_idx = num_dims - 1 - d;
    strided_i += (idx % dims[dim_idx]) * strides[dim_idx];
    idx /= dims[dim_idx];
  }
  return strided_i;
}
template <typename T> METAL_FUNC T erf_like(T in){
  float x = (float) in;
  float t = 1.0 / (1.0 + 0.3275911 * fabs(x));
  float y = 1.0 - (((((1.061405429*t - 1.453152027)*t) + 1.421413741)*t - 0.284496736)*t +
      0.254829592)*t*exp(-x*x);
  return T(sign(x)*y);
}
template <typename T> METAL_FUNC T gelu_erf(T x){
  return static_cast<T>(x * (1 + erf_like(x * M_SQRT1_2_F)) / 2);
}
template <typename T> METAL_FUNC T silu(T in) {
  return in / (static_cast<T>(1) + exp(-in));
}
#define UNARY(FN, TYPENAME, FN_NAME, FN_NAME_STRIDED) \
kernel void FN_NAME( constant size_t &dim, device const TYPENAME *input,  device TYPENAME \
    *output, uint tid [[ thread_position_in_grid ]] ) { if (tid >= dim) { return; } output[tid] \
    = TYPENAME(FN(float(input[tid]))); } \
kernel void FN_NAME_STRIDED( constant size_t &dim, constant size_t &num_dims, constant size_t \
    *dims, constant size_t *strides, device const TYPENAME *input, device TYPENAME *output, uint \
    tid [[ thread_position_in_grid ]] ) { if (tid >= dim) { return; } output[tid] = \
    TYPENAME(FN(float(input[get_strided_index(tid, num_dims, dims, strides)]))); }
UNARY(gelu_erf, float, f, f_strided)
UNARY(silu, half, g, g_strided)
#if __METAL_VERSION__ >= 310
UNARY(silu, bfloat, silu_bf, silu_bf_strided)
#endif
