// Maths functions made of others, or of operations on bits.
#pragma once
#include <metalgen/math_functions.h>

// M(type, suffix, ...) for float, half and their vectors.
#define __METAL_EACH_REAL(M, ...)      \
  __METAL_EACH_FLOAT(M, __VA_ARGS__)   \
  __METAL_EACH_HALF(M, __VA_ARGS__)

#define __METAL_DEFINE(T, S, ...)                                                        \
  METAL_FUNC T __metal_divide(T x, T y, bool = false) { return x / y; }                  \
  METAL_FUNC T __metal_fmax3(T x, T y, T z, bool fast) {                                 \
    return __metal_fmax(x, __metal_fmax(y, z, fast), fast);                              \
  }                                                                                      \
  METAL_FUNC T __metal_fmin3(T x, T y, T z, bool fast) {                                 \
    return __metal_fmin(x, __metal_fmin(y, z, fast), fast);                              \
  }                                                                                      \
  METAL_FUNC T __metal_fmedian3(T x, T y, T z, bool fast) {                              \
    return __metal_fmax(__metal_fmin(x, y, fast),                                        \
                        __metal_fmin(__metal_fmax(x, y, fast), z, fast), fast);          \
  }                                                                                      \
  METAL_FUNC T __metal_mix(T x, T y, T a, bool = false) { return x + (y - x) * a; }      \
  METAL_FUNC T __metal_smoothstep(T low, T high, T x, bool fast) {                       \
    T t = __metal_saturate((x - low) / (high - low), fast);                              \
    return t * t * (T(3) - T(2) * t);                                                    \
  }
__METAL_EACH_REAL(__METAL_DEFINE, )
#undef __METAL_DEFINE
__METAL_CALLS(2, divide, divide)
__METAL_CALLS(3, fmax3, fmax3)
__METAL_CALLS(3, fmin3, fmin3)
__METAL_CALLS(3, fmedian3, fmedian3)
__METAL_CALLS(3, max3, fmax3)
__METAL_CALLS(3, min3, fmin3)
__METAL_CALLS(3, median3, fmedian3)
__METAL_CALLS(3, mix, mix)
__METAL_CALLS(3, smoothstep, smoothstep)

#define __METAL_DEFINE(T, S, ...)                                                        \
  METAL_FUNC T __metal_sign(T x, bool = false) {                                         \
    return x > 0 ? (T)(1) : (x < 0 ? (T)(-1) : (x == 0 ? x : (T)(0)));                   \
  }                                                                                      \
  METAL_FUNC T __metal_step(T edge, T x, bool = false) { return x < edge ? (T)(0) : (T)(1); } \
  METAL_FUNC T __metal_fdim(T x, T y, bool = false) { return x <= y ? (T)(0) : x - y; }  \
  METAL_FUNC T __metal_copysign(T x, T y, bool = false) {                                \
    return __builtin_elementwise_copysign(x, y);                                         \
  }
__METAL_EACH_REAL(__METAL_DEFINE, )
#undef __METAL_DEFINE
__METAL_CALLS(1, sign, sign)
__METAL_CALLS(2, step, step)
__METAL_CALLS(2, fdim, fdim)
__METAL_CALLS(2, copysign, copysign)

#define __METAL_DECLARE_LDEXP(T, S, EXPONENT) \
  T __air_ldexp(T, EXPONENT) __asm("air.ldexp." S) __AIR_PURE;
__METAL_DECLARE_LDEXP(float, "f32", int)
__METAL_DECLARE_LDEXP(__metal_v2f32, "v2f32", __METAL_NATIVE(int, 2))
__METAL_DECLARE_LDEXP(__metal_v3f32, "v3f32", __METAL_NATIVE(int, 3))
__METAL_DECLARE_LDEXP(__metal_v4f32, "v4f32", __METAL_NATIVE(int, 4))
__METAL_DECLARE_LDEXP(half, "f16", int)
__METAL_DECLARE_LDEXP(__metal_v2f16, "v2f16", __METAL_NATIVE(int, 2))
__METAL_DECLARE_LDEXP(__metal_v3f16, "v3f16", __METAL_NATIVE(int, 3))
__METAL_DECLARE_LDEXP(__metal_v4f16, "v4f16", __METAL_NATIVE(int, 4))
#undef __METAL_DECLARE_LDEXP

__METAL_DECLARE_2(float, "f32", nextafter)
__METAL_DECLARE_2(half, "f16", nextafter)

// How a floating-point type keeps its exponent.
template <typename T>
struct __metal_format;
template <>
struct __metal_format<float> {
  typedef uint Bits;
  typedef int Signed;
  static constexpr constant Bits magnitude = 0x7fffffff, infinity = 0x7f800000;
  static constexpr constant Bits smallest = 0x00800000;
  static constexpr constant int fraction_bits = 23, bias = 127;
};
template <>
struct __metal_format<half> {
  typedef ushort Bits;
  typedef short Signed;
  static constexpr constant Bits magnitude = 0x7fff, infinity = 0x7c00;
  static constexpr constant Bits smallest = 0x0400;
  static constexpr constant int fraction_bits = 10, bias = 15;
};

template <typename T>
METAL_FUNC T __metal_frexp(T x, thread int* exponent) {
  typedef __metal_format<T> Format;
  typedef typename Format::Bits Bits;
  Bits magnitude = as_type<Bits>(x) & Format::magnitude;
  int adjust = 0;
  if (magnitude != 0 && magnitude < Format::smallest) {
    x *= T(1 << (Format::fraction_bits + 1 > 14 ? 14 : Format::fraction_bits + 1));
    x *= T(1 << (Format::fraction_bits + 1 > 14 ? Format::fraction_bits - 13 : 0));
    adjust = Format::fraction_bits + 1;
    magnitude = as_type<Bits>(x) & Format::magnitude;
  }
  if (magnitude == 0 || magnitude >= Format::infinity) {
    *exponent = 0;
    return x;
  }
  *exponent = int(magnitude >> Format::fraction_bits) - Format::bias + 1 - adjust;
  Bits kept = as_type<Bits>(x) & Bits(~Format::infinity);
  return as_type<T>(Bits(kept | Bits((Format::bias - 1) << Format::fraction_bits)));
}

METAL_FUNC float __metal_nextafter(float x, float y) { return __air_nextafter(x, y); }
METAL_FUNC half __metal_nextafter(half x, half y) { return __air_nextafter(x, y); }

METAL_FUNC float __metal_ldexp(float x, int k, bool = false) { return __air_ldexp(x, k); }
METAL_FUNC half __metal_ldexp(half x, int k, bool = false) { return __air_ldexp(x, k); }

#define __METAL_EXPONENTS(T)                                                             \
  METAL_FUNC T ldexp(T x, int k) { return __air_ldexp(x, k); }                           \
  METAL_FUNC T frexp(T x, thread int& exponent) { return __metal_frexp(x, &exponent); }  \
  METAL_FUNC T nextafter(T x, T y) { return __metal_nextafter(x, y); }                   \
  METAL_FUNC int ilogb(T x) {                                                            \
    int exponent;                                                                        \
    if (__metal_frexp(x, &exponent) == T(0)) return FP_ILOGB0;                           \
    typedef __metal_format<T>::Bits Bits;                                                \
    bool finite = (as_type<Bits>(x) & __metal_format<T>::magnitude) < __metal_format<T>::infinity; \
    return finite ? exponent - 1 : FP_ILOGBNAN;                                          \
  }                                                                                      \
  METAL_FUNC T modf(T x, thread T& whole) {                                              \
    whole = trunc(x);                                                                    \
    T rest = fabs(x) == T(INFINITY) ? T(0) : x - whole;                                  \
    return copysign(rest, x);                                                            \
  }                                                                                      \
  METAL_FUNC T sincos(T x, thread T& cosine) {                                           \
    cosine = cos(x);                                                                     \
    return sin(x);                                                                       \
  }

#define __METAL_EXPONENTS_IN_VECTORS                                                     \
  template <typename V, typename R = __metal_real_t<V>, int N = __metal_length<R>>       \
  METAL_FUNC R ldexp(V x, vec<int, N> k) {                                               \
    return R(__metal_native(), __air_ldexp(R(x).__v, k.__v));                            \
  }                                                                                      \
  template <typename T, int N>                                                           \
  METAL_FUNC vec<T, N> frexp(vec<T, N> x, thread vec<int, N>& exponent) {                \
    for (int i = 0; i < N; ++i) {                                                        \
      int e;                                                                             \
      x[i] = frexp(x[i], e);                                                             \
      exponent[i] = e;                                                                   \
    }                                                                                    \
    return x;                                                                            \
  }                                                                                      \
  template <typename V, typename W, typename R = __metal_real_t<V, W>>                   \
  METAL_FUNC R nextafter(V x, W y) {                                                     \
    R from = R(x), to = R(y);                                                            \
    for (int i = 0; i < __metal_length<R>; ++i) from[i] = nextafter(from[i], to[i]);     \
    return from;                                                                         \
  }                                                                                      \
  template <typename V, typename R = __metal_real_t<V>>                                  \
  METAL_FUNC vec<int, __metal_length<R>> ilogb(V x) {                                    \
    R from = R(x);                                                                       \
    vec<int, __metal_length<R>> result;                                                  \
    for (int i = 0; i < __metal_length<R>; ++i) result[i] = ilogb(from[i]);              \
    return result;                                                                       \
  }                                                                                      \
  template <typename T, int N>                                                           \
  METAL_FUNC vec<T, N> modf(vec<T, N> x, thread vec<T, N>& whole) {                      \
    for (int i = 0; i < N; ++i) {                                                        \
      T w;                                                                               \
      x[i] = modf(x[i], w);                                                              \
      whole[i] = w;                                                                      \
    }                                                                                    \
    return x;                                                                            \
  }                                                                                      \
  template <typename T, int N>                                                           \
  METAL_FUNC vec<T, N> sincos(vec<T, N> x, thread vec<T, N>& cosine) {                   \
    for (int i = 0; i < N; ++i) {                                                        \
      T c;                                                                               \
      x[i] = sincos(x[i], c);                                                            \
      cosine[i] = c;                                                                     \
    }                                                                                    \
    return x;                                                                            \
  }

namespace metal {
__METAL_EXPONENTS(float)
__METAL_EXPONENTS(half)
__METAL_EXPONENTS_IN_VECTORS
template <typename V, typename R = __metal_brain_t<V>, int N = __metal_length<R>, typename = void>
METAL_FUNC R ldexp(V x, vec<int, N> k) {
  return R(ldexp(__metal_widened_t<R>(R(x)), k));
}
template <typename V, typename R = __metal_brain_t<V>, typename = void>
METAL_FUNC vec<int, __metal_length<R>> ilogb(V x) {
  return ilogb(__metal_widened_t<R>(R(x)));
}
namespace fast {
__METAL_EXPONENTS(float)
__METAL_EXPONENTS(half)
__METAL_EXPONENTS_IN_VECTORS
}  // namespace fast
namespace precise {
__METAL_EXPONENTS(float)
__METAL_EXPONENTS(half)
__METAL_EXPONENTS_IN_VECTORS
}  // namespace precise
}  // namespace metal
#undef __METAL_EXPONENTS_IN_VECTORS
#undef __METAL_EXPONENTS
