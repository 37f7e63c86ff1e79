// sin, cos, tan of radians for every finite argument, and of multiples of π.

#include "lanes.h"

namespace metalgen {
namespace {

// x = quadrant · π/2 + r with |r| <= π/4; only the low two bits of quadrant matter.
template <class T>
struct Reduced {
  T r;
  Int<T> quadrant;
};

// 2/π as a binary fraction after 32 zero bits.
constexpr unsigned kTwoOverPi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                   0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561};

// 64 bits of kTwoOverPi from bit `offset`, upper half and lower half of the window Payne and Hanek
// multiply by.
inline unsigned long window(unsigned offset) {
  const unsigned word = offset / 32, shift = offset % 32;
  const unsigned long upper =
      static_cast<unsigned long>(kTwoOverPi[word]) << 32 | kTwoOverPi[word + 1];
  return shift == 0 ? upper : upper << shift | kTwoOverPi[word + 2] >> (32 - shift);
}

// Payne and Hanek's reduction ("Radian reduction for trigonometric functions", 1983) for |x| >=
// 2²⁰: the bits of 2/π worth a whole turn or more after multiplication are left out, which leaves a
// 96 bit window times 24 bits.
inline Reduced<float> reduce_huge(float x) {
  const int pattern = bits(x) & 0x7fffffff;
  if (pattern >= 0x7f800000) return {kNaN, 0};
  const unsigned long mantissa = (pattern & 0x7fffff) | 0x800000;
  const unsigned offset = (pattern >> 23) - 150 + 30;
  const unsigned long high = window(offset), low = window(offset + 32) & 0xffffffff;
  const unsigned long turns =
      mantissa * high + (mantissa * low >> 32);  // in units of 2⁻⁶² quadrants
  const unsigned long quadrant = (turns + (1ul << 61)) >> 62;
  const long fraction = static_cast<long>(turns - (quadrant << 62));
  const float r = static_cast<float>(static_cast<double>(fraction) * 0x1.921fb54442d18p-62);
  const int q = static_cast<int>(quadrant);
  return x < 0 ? Reduced<float>{-r, -q} : Reduced<float>{r, q};
}

template <class T>
Reduced<T> reduce(T x) {
  const Double<T> wide = to_double(x);
  const Nearest<Double<T>> n = nearest_product(wide, 0x1.45f306dc9c883p-1);  // 2/π
  Double<T> r =
      wide -
      n.value * 0x1.921fb544p0;  // π/2 in two parts, the first of 33 bits: exact for |n| < 2²⁰
  r = r - n.value * 0x1.0b4611a626331p-34;
  Reduced<T> reduced{to_float(r), low_bits(__builtin_bit_cast(Long<T>, n.shifted))};
  const auto huge = abs(x) < 0x1p20f ? Int<T>(0) : Int<T>(1);  // NaN too
  if (any(huge != 0)) [[unlikely]] {
    for (int i = 0; i < kLanes<T>; ++i) {
      if (abs(lane(x, i)) < 0x1p20f) continue;
      const Reduced<float> one = reduce_huge(lane(x, i));
      set_lane(reduced.r, i, one.r);
      set_lane(reduced.quadrant, i, one.quadrant);
    }
  }
  return reduced;
}

template <class T>
struct SinCos {
  T sin;
  T cos;
};

// Minimax on |r| <= π/4.
template <class T>
SinCos<T> sin_cos_reduced(T r) {
  const T z = r * r;
  const T cos_tail = polynomial(z, 0x1.55554ap-5f, -0x1.6c0c28p-10f, 0x1.99e86cp-16f);
  return {odd(r, polynomial(z, -0x1.555556p-3f, 0x1.111108p-7f, -0x1.a00f74p-13f, 0x1.6ccf5ep-19f)),
          z * z * cos_tail + (1.0f - 0.5f * z)};
}

// sin(πr), cos(πr) for |r| <= 1/4, minimax; π in two parts.
template <class T>
SinCos<T> sin_cos_pi_reduced(T r) {
  const T z = r * r;
  const T sin_tail =
      z * polynomial(z, -0x1.4abbcep2f, 0x1.466bbcp1f, -0x1.32cb0ap-1f, 0x1.4bdfaep-4f) -
      0x1.777a5cp-24f;
  const T cos_tail = polynomial(z, -0x1.3bd3ccp2f, 0x1.03c1dep2f, -0x1.55c5dap0f, 0x1.d9d3dp-3f);
  return {select(r == 0, r, r * 0x1.921fb6p1f + r * sin_tail), z * cos_tail + 1.0f};
}

// Turns the values at r into those at r + quadrant · π/2.
template <class T>
SinCos<T> rotate(SinCos<T> at_r, Int<T> quadrant) {
  const auto odd_quadrant = (quadrant & 1) != 0;
  const T sin = select(odd_quadrant, at_r.cos, at_r.sin);
  const T cos = select(odd_quadrant, at_r.sin, at_r.cos);
  return {from_bits<T>(bits(sin) ^ ((quadrant & 2) << 30)),
          from_bits<T>(bits(cos) ^ (((quadrant + 1) & 2) << 30))};
}

template <class T>
SinCos<T> sin_cos(T x) {
  const Reduced<T> reduced = reduce(x);
  return rotate(sin_cos_reduced(reduced.r), reduced.quadrant);
}

// tan r or, a quadrant on, -1 / tan r; the polynomial is minimax on |r| <= π/4.
template <class T>
T tan(T x) {
  const Reduced<T> reduced = reduce(x);
  const T r = reduced.r;
  const T t = odd(r, polynomial(T(r * r), 0x1.55556p-2f, 0x1.110d8p-3f, 0x1.bade48p-5f,
                                0x1.5c9626p-6f, 0x1.639b3cp-7f, 0x1.1db8c2p-14f, 0x1.1f839ap-8f));
  return select((reduced.quadrant & 1) != 0, T(-1.0f / t), t);
}

// x = quadrant / 2 + r, exact; from 2²² on every x is a multiple of 1/2, from 2²⁴ on an even
// integer.
template <class T>
SinCos<T> sin_cos_pi(T x) {
  const T bounded = select(abs(x) < 0x1p24f, x, T(x * 0.0f));  // infinity becomes NaN
  const T doubled = __builtin_elementwise_roundeven(T(bounded + bounded));
  const T r = select(doubled == 0, bounded, T(bounded - doubled * 0.5f));  // keeps -0
  // doubled mod 4, which fits the rounding trick whatever x is.
  const T mod = doubled - 4.0f * __builtin_elementwise_floor(T(doubled * 0.25f));
  const SinCos<T> result = rotate(sin_cos_pi_reduced(r), Int<T>(bits(T(mod + 0x1.8p23f))));
  // IEEE 754 on zeros: sinpi's have the sign of x, cospi's are positive.
  return {select(result.sin == 0, copy_sign(result.sin, x), result.sin), result.cos + 0.0f};
}

}  // namespace

extern "C" {
float sin_1(float x) { return sin_cos(x).sin; }
float32 sin_32(float32 x) { return sin_cos(x).sin; }
float cos_1(float x) { return sin_cos(x).cos; }
float32 cos_32(float32 x) { return sin_cos(x).cos; }
float tan_1(float x) { return tan(x); }
float32 tan_32(float32 x) { return tan(x); }
float sinpi_1(float x) { return sin_cos_pi(x).sin; }
float32 sinpi_32(float32 x) { return sin_cos_pi(x).sin; }
float cospi_1(float x) { return sin_cos_pi(x).cos; }
float32 cospi_32(float32 x) { return sin_cos_pi(x).cos; }
float tanpi_1(float x) {
  const auto [sin, cos] = sin_cos_pi(x);
  return sin / cos;
}
float32 tanpi_32(float32 x) {
  const auto [sin, cos] = sin_cos_pi(x);
  return sin / cos;
}
}

}  // namespace metalgen
