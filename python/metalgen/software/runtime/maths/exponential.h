// e^x · 2^k in single precision, shared by the exponential and the hyperbolic functions.

#pragma once

#include "lanes.h"

namespace metalgen {

// 2^n for -126 <= n <= 127.
template <class T>
T power_of_two(Int<T> n) {
  return from_bits<T>((n + 127) << 23);
}

// p · 2^n for any n in [-252, 254], rounded once where the result is denormal: two factors, since
// one may not exist.
template <class T>
T scale(T p, Int<T> n) {
  const Int<T> half = n >> 1;
  return p * power_of_two<T>(half) * power_of_two<T>(n - half);
}

// The integer that Nearest::shifted carries in its low bits.
template <class T>
Int<T> integer_part(T shifted) {
  return bits(shifted) - __builtin_bit_cast(int, 0x1.8p23f);
}

// NaN stays NaN: both comparisons are false.
template <class T>
T clamp(T x, float low, float high) {
  x = select(x < low, T(low), x);
  return select(x > high, T(high), x);
}

// e^x = p · 2^n for |x| <= 150 with p near 1; relative error below 1.1 ulp. NaN gives a p of NaN.
template <class T>
struct ExpParts {
  T p;
  Int<T> n;
};

template <class T>
ExpParts<T> exp_parts(T x) {
  const Nearest<T> n = nearest_product(x, 0x1.715476p0f);  // 1 / ln 2
  T r = x - n.value * 0x1.62ep-1f;  // ln 2 in two parts, the first of 14 bits: n times it is exact
  r = r - n.value * 0x1.0bfbe8p-15f;
  // Minimax on |r| <= ln 2 / 2 of (e^r - 1 - r) / r².
  const T p = polynomial(r, 0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558f2p-5f, 0x1.1239e2p-7f,
                         0x1.6a244ap-10f);
  return {(r * r * p + r) + 1.0f, integer_part(n.shifted)};
}

// e^x · 2^exponent, where exponent is 0 or -1.
template <class T>
T scaled_exp(T x, int exponent) {
  const ExpParts<T> parts = exp_parts(clamp(x, -105.0f, 90.0f));
  return scale(parts.p, Int<T>(parts.n + exponent));
}

}  // namespace metalgen
