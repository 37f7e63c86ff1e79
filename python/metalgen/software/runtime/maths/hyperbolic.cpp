// sinh, cosh, tanh and their inverses.

#include "double_precision.h"
#include "exponential.h"

namespace metalgen {
namespace {

// e^|x| / 2, which is finite as far as sinh and cosh are.
template <class T>
T half_exp(T x) {
  return scaled_exp(abs(x), -1);
}

template <class T>
T sinh(T x) {
  const T e = half_exp(x);
  const T small = odd(
      x, polynomial(T(x * x), 0x1.555556p-3f, 0x1.111134p-7f, 0x1.9ffe92p-13f, 0x1.7a15b8p-19f));
  return select(abs(x) < 1, small, copy_sign(T(e - 0.25f / e), x));
}

template <class T>
T cosh(T x) {
  const T e = half_exp(x);
  return e + 0.25f / e;
}

template <class T>
T tanh(T x) {
  const T a = abs(x);
  const T small = odd(x, polynomial(T(x * x), -0x1.555554p-2f, 0x1.111066p-3f, -0x1.b9ee9p-5f,
                                    0x1.638b56p-6f, -0x1.0bf4fp-7f, 0x1.18e1b8p-9f));
  const T bounded = select(a > 10, T(10), a);  // from 9.02 on the answer is 1
  const ExpParts<T> squared = exp_parts(T(bounded + bounded));
  const T large = 1.0f - 2.0f / (squared.p * power_of_two<T>(squared.n) + 1.0f);
  return select(a < 0.625f, small, copy_sign(large, x));
}

// ln x as a float for a double above 2⁻¹⁰⁰⁰, infinity or NaN.
template <class T>
T log_of(Double<T> x) {
  return to_float(x < __builtin_inf() ? log_normal(x) : x);
}

template <class T>
T asinh(T x) {
  const Double<T> a = to_double(abs(x));
  const T large = log_of<T>(a + sqrt_double(Double<T>(a * a + 1.0)));
  const T small = odd(x, T(-0x1.555556p-3f));  // the next term is 3/40 x⁵
  return select(abs(x) < 0x1p-7f, small, copy_sign(large, x));
}

template <class T>
T acosh(T x) {
  const Double<T> wide = to_double(x);
  return select(x < 1, T(kNaN), log_of<T>(wide + sqrt_double(Double<T>(wide * wide - 1.0))));
}

template <class T>
T atanh(T x) {
  const Double<T> a = to_double(abs(x));
  const T large = 0.5f * log_of<T>((1.0 + a) / (1.0 - a));
  const T small = odd(x, T(0x1.555556p-2f));  // the next term is x⁵ / 5
  const T result = select(abs(x) < 0x1p-7f, small, copy_sign(large, x));
  return select(abs(x) > 1, T(kNaN), result);
}

}  // namespace

extern "C" {
float sinh_1(float x) { return sinh(x); }
float32 sinh_32(float32 x) { return sinh(x); }
float cosh_1(float x) { return cosh(x); }
float32 cosh_32(float32 x) { return cosh(x); }
float tanh_1(float x) { return tanh(x); }
float32 tanh_32(float32 x) { return tanh(x); }
float asinh_1(float x) { return asinh(x); }
float32 asinh_32(float32 x) { return asinh(x); }
float acosh_1(float x) { return acosh(x); }
float32 acosh_32(float32 x) { return acosh(x); }
float atanh_1(float x) { return atanh(x); }
float32 atanh_32(float32 x) { return atanh(x); }
}

}  // namespace metalgen
