// log, log2, log10: exponent plus log(1 + f) with 1 + f between √½ and √2.

#include "lanes.h"

namespace metalgen {
namespace {

// x = 2^exponent · (1 + f) for positive finite x.
template <class T>
struct Split {
  T exponent;
  T f;
};

template <class T>
Split<T> split(T x) {
  const auto denormal = x < 0x1p-126f;
  const Int<T> pattern = bits(select(denormal, T(x * 0x1p23f), x));
  const Int<T> exponent =
      (pattern - __builtin_bit_cast(int, 0x1.6a09e6p-1f)) >> 23;  // √½ becomes exponent 0
  const T mantissa = from_bits<T>(pattern - (exponent << 23));
  return {to_float(exponent) - select(denormal, T(23.0f), T(0.0f)), mantissa - 1.0f};
}

// Minimax on f in [√½ - 1, √2 - 1] of log(1 + f) = f - f²/2 + f³ p(f), without the leading f.
template <class T>
T log1p_tail(T f) {
  const T p = polynomial(f, 0x1.555554p-2f, -0x1.000228p-2f, 0x1.99a008p-3f, -0x1.547244p-3f,
                         0x1.22da14p-3f, -0x1.0d8544p-3f, 0x1.055ba6p-3f, -0x1.38b608p-4f);
  const T square = f * f;
  return f * square * p - 0.5f * square;
}

template <class T>
T with_special_values(T result, T x) {
  result = select(x < kInfinity, result, x);  // infinity and NaN
  result = select(x == 0, T(-kInfinity), result);
  return select(x < 0, T(kNaN), result);
}

template <class T>
T log(T x) {
  const auto [exponent, f] = split(x);
  const T low = exponent * 0x1.0bfbe8p-15f + log1p_tail(f);
  return with_special_values(T(exponent * 0x1.62ep-1f + (f + low)), x);  // ln 2 in two parts
}

template <class T>
T log2(T x) {
  const auto [exponent, f] = split(x);
  const T tail = log1p_tail(f);
  const T low = f * 0x1.4ae0cp-26f + tail * 0x1.715476p0f;  // 1 / ln 2 in two parts
  return with_special_values(T(exponent + (f * 0x1.715476p0f + low)), x);
}

template <class T>
T log10(T x) {
  const auto [exponent, f] = split(x);
  const T low = exponent * 0x1.3509f8p-18f + log1p_tail(f) * 0x1.bcb7b2p-2f;
  const T fraction = f * 0x1.bcb7b2p-2f + (f * -0x1.5b235ep-27f + low);  // 1 / ln 10 in two parts
  return with_special_values(T(exponent * 0x1.344p-2f + fraction), x);   // log10 2 in two parts
}

}  // namespace

extern "C" {
float log_1(float x) { return log(x); }
float32 log_32(float32 x) { return log(x); }
float log2_1(float x) { return log2(x); }
float32 log2_32(float32 x) { return log2(x); }
float log10_1(float x) { return log10(x); }
float32 log10_32(float32 x) { return log10(x); }
}

}  // namespace metalgen
