// Rows of 4-bit blocks, the dequantising function a template argument.
#include <metal_stdlib>
using namespace metal;

#define QK4_0 32
typedef struct {
  half d;
  uint8_t qs[QK4_0 / 2];
} block_q4_0;
static_assert(sizeof(block_q4_0) == sizeof(half) + QK4_0 / 2, "wrong q4_0 block size");
template <typename type4x4> void dequantize_q4_0(device const block_q4_0 * xb, short il, thread
    type4x4 & reg) {
  device const uint16_t * qs = ((device const uint16_t *)xb + 1);
  const float d1 = il ? (xb->d / 16.h) : xb->d;
  const float d2 = d1 / 256.f;
  const float md = -8.h * xb->d;
  const ushort mask0 = il ? 0x00F0 : 0x000F;
  const ushort mask1 = mask0 << 8;
  float4x4 reg_f;
  for (int i = 0; i < 8; i++) {
    reg_f[i/2][2*(i%2) + 0] = d1 * (qs[i] & mask0) + md;
    reg_f[i/2][2*(i%2) + 1] = d2 * (qs[i] & mask1) + md;
  }
  reg = (type4x4) reg_f;
}
template <typename block_q, short nl,
          void (*deq)(device const block_q *, short, thread float4x4 &)>
kernel void get_rows(device const void * src, device float * dst,
                     uint i [[thread_position_in_grid]]) {
  float4x4 t;
  deq(((device const block_q *) src) + i/nl, i%nl, t);
  *(((device float4x4 *) dst) + i) = t;
}
typedef decltype(get_rows<block_q4_0, 2, dequantize_q4_0>) get_rows_t;
template [[host_name("f")]] kernel get_rows_t get_rows<block_q4_0, 2, dequantize_q4_0>;
