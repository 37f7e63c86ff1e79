// pow, powr, rsqrt: computed in double precision and rounded once.

#include "double_precision.h"

namespace metalgen {
namespace {

// x^y for x >= 0; NaN for 0^0, infinity^0 and 1^infinity, as powr has it.
template <class T>
T power_of_magnitude(T x, T y) {
  const Double<T> magnitude = to_double(x);
  Double<T> log2 = log_normal(magnitude) * 0x1.71547652b82fep0;  // 1 / ln 2
  log2 = magnitude == 0.0 ? Double<T>(-__builtin_inf()) : log2;
  log2 = magnitude < __builtin_inf() ? log2 : magnitude;  // infinity and NaN
  Double<T> exponent = log2 * to_double(y);
  exponent = exponent < -200.0 ? Double<T>(-200.0) : exponent;  // beyond any float
  exponent = exponent > 200.0 ? Double<T>(200.0) : exponent;
  return to_float(exp2_bounded(exponent));
}

template <class T>
T powr(T x, T y) {
  return select(x < 0, T(kNaN), power_of_magnitude(x, y));
}

// Special values as C's pow has them.
template <class T>
T pow(T x, T y) {
  const T magnitude = abs(x);
  T result = power_of_magnitude(magnitude, y);
  result = select(magnitude == 1, select(y == y, T(1), select(x == 1, T(1), y)), result);
  const T whole = __builtin_elementwise_trunc(y);
  const T half = y * 0.5f;
  const auto is_odd = Int<T>(whole == y ? Int<T>(1) : Int<T>(0)) &
                      Int<T>(__builtin_elementwise_trunc(half) == half ? Int<T>(0) : Int<T>(1));
  const auto negative_sign = bits(x) < 0;
  result = select(negative_sign, select(is_odd != 0, T(-result), result), result);
  // A finite negative base has no real power with a fraction.
  const T finite = select(x > -kInfinity, T(kNaN), result);
  result = select(x < 0, select(whole == y, result, finite), result);
  result = select(y == 0, T(1), result);
  return select(y == y, result, select(x == 1, T(1), y));
}

// Within an ulp or so.
template <class T>
T fast_rsqrt(T x) {
  return 1.0f / sqrt(x);
}

// One of Newton's steps in double precision from there, then rounded.
template <class T>
T rsqrt(T x) {
  const T near = fast_rsqrt(x);
  const Double<T> y = to_double(near);
  const Double<T> error = 1.0 - to_double(x) * y * y;
  const T refined = to_float(y * (error * 0.5) + y);
  return select(near > 0, select(near < kInfinity, refined, near), near);
}

}  // namespace

extern "C" {
float pow_1(float x, float y) { return pow(x, y); }
float32 pow_32(float32 x, float32 y) { return pow(x, y); }
float powr_1(float x, float y) { return powr(x, y); }
float32 powr_32(float32 x, float32 y) { return powr(x, y); }
float rsqrt_1(float x) { return rsqrt(x); }
float32 rsqrt_32(float32 x) { return rsqrt(x); }
float fast_rsqrt_1(float x) { return fast_rsqrt(x); }
float32 fast_rsqrt_32(float32 x) { return fast_rsqrt(x); }
}

}  // namespace metalgen
