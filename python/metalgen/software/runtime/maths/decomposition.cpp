// fmod, ldexp, ilogb, frexp: functions of a float's exponent, all exact or rounded once.

#include "lanes.h"

namespace metalgen {
namespace {

// 2^n in double precision, -1022 <= n <= 1023.
template <class D>
D power_of_two_double(Long<D> n) {
  return __builtin_bit_cast(D, Long<D>((n + 1023) << 52));
}

template <class D>
Long<D> exponent_of(D x) {
  return (__builtin_bit_cast(Long<D>, x) >> 52) - 1023;
}

// Long division, 28 bits of the quotient at a time: each partial product is exact in double
// precision.
template <class T>
T fmod(T x, T y) {
  Double<T> rest = to_double(abs(x));
  const Double<T> divisor = to_double(abs(y));
  const auto valid = rest < __builtin_inf() ? Long<T>(1) : Long<T>(0);
  const auto proper = valid & (divisor > 0.0 ? Long<T>(1) : Long<T>(0));
  Double<T> scaled = divisor;
  const Double<T> limit = divisor * 0x1p28;
  // The quotient exceeds 28 bits: take its highest ones first.
  for (auto large = proper & (rest >= limit ? Long<T>(1) : Long<T>(0)); any(large != 0);
       large = proper & (rest >= limit ? Long<T>(1) : Long<T>(0))) {
    const Long<T> shift = exponent_of(rest) - exponent_of(divisor) - 27;
    scaled = divisor * power_of_two_double<Double<T>>(large != 0 ? shift : Long<T>(0));
    const Double<T> reduced = rest - __builtin_elementwise_trunc(Double<T>(rest / scaled)) * scaled;
    rest = large != 0 ? (reduced < 0.0 ? Double<T>(reduced + scaled) : reduced) : rest;
  }
  // The rounded quotient may be one too large.
  const Double<T> reduced = rest - __builtin_elementwise_trunc(Double<T>(rest / divisor)) * divisor;
  const Double<T> remainder = reduced < 0.0 ? Double<T>(reduced + divisor) : reduced;
  const Double<T> exact = divisor < __builtin_inf() ? remainder : rest;
  const T result = copy_sign(to_float(exact), x);
  const T checked = select(y == 0, T(kNaN), select(y != y, y, result));
  return select(abs(x) < kInfinity, checked, T(x - x));
}

// Through double precision, where no float times 2^±300 overflows: one rounding.
template <class T>
T ldexp(T x, Int<T> n) {
  n = n < -300 ? Int<T>(-300) : n;
  n = n > 300 ? Int<T>(300) : n;
  return to_float(to_double(x) * power_of_two_double<Double<T>>(to_long(n)));
}

constexpr int kIlogbOfZero = -2147483647 - 1;
constexpr int kIlogbOfNaN = -2147483647 - 1;
constexpr int kIlogbOfInfinity = 2147483647;

// Denormals are normal in double precision.
template <class T>
Int<T> exponent(T x) {
  return low_bits(exponent_of(to_double(abs(x))));
}

template <class T>
Int<T> ilogb(T x) {
  Int<T> result = exponent(x);
  result = select(x == 0, Int<T>(kIlogbOfZero), result);
  result = select(abs(x) == kInfinity, Int<T>(kIlogbOfInfinity), result);
  return select(x != x, Int<T>(kIlogbOfNaN), result);
}

template <class T>
Int<T> frexp_exponent(T x) {
  const Int<T> result = exponent(x) + 1;
  return select(abs(x) < kInfinity, select(x == 0, Int<T>(0), result), Int<T>(0));
}

template <class T>
T frexp_fraction(T x) {
  return select(abs(x) < kInfinity, ldexp(x, Int<T>(-frexp_exponent(x))), x);
}

}  // namespace

extern "C" {
float fmod_1(float x, float y) { return fmod(x, y); }
float32 fmod_32(float32 x, float32 y) { return fmod(x, y); }
float ldexp_1(float x, int n) { return ldexp(x, n); }
float32 ldexp_32(float32 x, Vector32<int> n) { return ldexp(x, n); }
int ilogb_1(float x) { return ilogb(x); }
Vector32<int> ilogb_32(float32 x) { return ilogb(x); }
int frexp_exponent_1(float x) { return frexp_exponent(x); }
Vector32<int> frexp_exponent_32(float32 x) { return frexp_exponent(x); }
float frexp_fraction_1(float x) { return frexp_fraction(x); }
float32 frexp_fraction_32(float32 x) { return frexp_fraction(x); }
}

}  // namespace metalgen
