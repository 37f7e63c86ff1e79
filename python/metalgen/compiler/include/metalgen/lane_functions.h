// What SIMD-groups and quad-groups have in common: values exchanged between lanes.
#pragma once
#include <metal_integer>

// M(type, sign, suffix, ...) for every type that can be exchanged; 64 bits go as two halves, in the
// user's own hands.
#define __METAL_EACH_LANE_INTEGER(M, ...) \
  M(char, "s.", "i8", __VA_ARGS__)        \
  M(signed char, "s.", "i8", __VA_ARGS__) \
  M(uchar, "u.", "i8", __VA_ARGS__)       \
  M(short, "s.", "i16", __VA_ARGS__)      \
  M(ushort, "u.", "i16", __VA_ARGS__)     \
  M(int, "s.", "i32", __VA_ARGS__)        \
  M(uint, "u.", "i32", __VA_ARGS__)
#define __METAL_EACH_LANE_TYPE(M, ...)       \
  M(float, "", "f32", __VA_ARGS__)           \
  M(half, "", "f16", __VA_ARGS__)            \
  __METAL_EACH_LANE_INTEGER(M, __VA_ARGS__)

// One overload per type and length for each shape of function; NAME carries the prefix, simd or
// quad.
#define __METAL_DECLARE_REDUCTION_IN(T, SUFFIX, SIGN, NAME) \
  T __air_##NAME(T) __asm("air." #NAME "." SIGN SUFFIX) __AIR_CONVERGENT;
#define __METAL_DECLARE_SHUFFLE_IN(T, SUFFIX, SIGN, NAME) \
  T __air_##NAME(T, ushort) __asm("air." #NAME "." SIGN SUFFIX) __AIR_CONVERGENT;
#define __METAL_DECLARE_FILL_IN(T, SUFFIX, SIGN, NAME) \
  T __air_##NAME(T, T, ushort, ushort) __asm("air." #NAME "." SIGN SUFFIX) __AIR_CONVERGENT;
#define __METAL_DECLARE_REDUCTION(T, SIGN, SUFFIX, NAME) \
  __METAL_EACH_LENGTH(__METAL_DECLARE_REDUCTION_IN, T, SUFFIX, SIGN, NAME)
#define __METAL_DECLARE_SHUFFLE(T, SIGN, SUFFIX, NAME) \
  __METAL_EACH_LENGTH(__METAL_DECLARE_SHUFFLE_IN, T, SUFFIX, SIGN, NAME)
#define __METAL_DECLARE_FILL(T, SIGN, SUFFIX, NAME) \
  __METAL_EACH_LENGTH(__METAL_DECLARE_FILL_IN, T, SUFFIX, SIGN, NAME)

// Scalars are overloads, as in Metal; __metal_name is the spelling that some sources reach for.
#define __METAL_REDUCTION_SCALAR(T, SIGN, SUFFIX, NAME)                                    \
  METAL_FUNC T __metal_##NAME(T x) { return __air_##NAME(x); }                             \
  namespace metal {                                                                        \
  METAL_FUNC T NAME(T x) { return __air_##NAME(x); }                                       \
  }
#define __METAL_SHUFFLE_SCALAR(T, SIGN, SUFFIX, NAME)                                      \
  METAL_FUNC T __metal_##NAME(T x, ushort lane) { return __air_##NAME(x, lane); }          \
  namespace metal {                                                                        \
  METAL_FUNC T NAME(T x, ushort lane) { return __air_##NAME(x, lane); }                    \
  }
#define __METAL_FILL_SCALAR(T, SIGN, SUFFIX, NAME, WIDTH)                                  \
  METAL_FUNC T __metal_##NAME(T x, T filling, ushort delta, ushort modulo) {               \
    return __air_##NAME(x, filling, delta, modulo);                                        \
  }                                                                                        \
  namespace metal {                                                                        \
  METAL_FUNC T NAME(T x, T filling, ushort delta, ushort modulo = WIDTH) {                 \
    return __air_##NAME(x, filling, delta, modulo);                                        \
  }                                                                                        \
  }

// A bfloat counts as a float in sums, and travels as its bits.
#define __METAL_REDUCTION(NAME, EACH)                                                      \
  EACH(__METAL_DECLARE_REDUCTION, NAME)                                                    \
  EACH(__METAL_REDUCTION_SCALAR, NAME)                                                     \
  namespace metal {                                                                        \
  template <typename V, typename R = __metal_number_t<V>>                                  \
  METAL_FUNC R NAME(V x) {                                                                 \
    return R(__metal_native(), __air_##NAME(R(x).__v));                                    \
  }                                                                                        \
  }
#define __METAL_NUMBER_REDUCTION(NAME)                                                     \
  __METAL_REDUCTION(NAME, __METAL_EACH_LANE_TYPE)                                          \
  namespace metal {                                                                        \
  template <typename T>                                                                    \
  METAL_FUNC enable_if_t<__is_same(T, bfloat), float> NAME(T x) {                          \
    return NAME(float(x));                                                                 \
  }                                                                                        \
  }
#define __METAL_SHUFFLE(NAME)                                                              \
  __METAL_EACH_LANE_TYPE(__METAL_DECLARE_SHUFFLE, NAME)                                    \
  __METAL_EACH_LANE_TYPE(__METAL_SHUFFLE_SCALAR, NAME)                                     \
  namespace metal {                                                                        \
  template <typename V, typename R = __metal_number_t<V>>                                  \
  METAL_FUNC R NAME(V x, ushort lane) {                                                    \
    return __metal_as_lanes<R>::back(__air_##NAME(__metal_as_lanes<R>::bits(R(x)), lane)); \
  }                                                                                        \
  template <typename T>                                                                    \
  METAL_FUNC enable_if_t<__is_same(T, bfloat), T> NAME(T x, ushort lane) {                 \
    return as_type<T>(NAME(as_type<ushort>(x), lane));                                     \
  }                                                                                        \
  }
#define __METAL_FILL(NAME, WIDTH)                                                          \
  __METAL_EACH_LANE_TYPE(__METAL_DECLARE_FILL, NAME)                                       \
  __METAL_EACH_LANE_TYPE(__METAL_FILL_SCALAR, NAME, WIDTH)                                 \
  namespace metal {                                                                        \
  template <typename V, typename W, typename R = __metal_number_t<V, W>>                   \
  METAL_FUNC R NAME(V x, W filling, ushort delta, ushort modulo = WIDTH) {                 \
    typedef __metal_as_lanes<R> Lanes;                                                     \
    return Lanes::back(__air_##NAME(Lanes::bits(R(x)), Lanes::bits(R(filling)), delta, modulo)); \
  }                                                                                        \
  template <typename T>                                                                    \
  METAL_FUNC enable_if_t<__is_same(T, bfloat), T> NAME(T x, T filling, ushort delta,       \
                                                       ushort modulo = WIDTH) {            \
    return as_type<T>(NAME(as_type<ushort>(x), as_type<ushort>(filling), delta, modulo));  \
  }                                                                                        \
  }

namespace metal {

// AIR exchanges no bfloat vectors; their bits are ushorts.
template <typename V>
struct __metal_as_lanes {
  METAL_FUNC static typename V::__native bits(V x) { return x.__v; }
  METAL_FUNC static V back(typename V::__native x) { return V(__metal_native(), x); }
};
template <int N>
struct __metal_as_lanes<vec<bfloat, N>> {
  typedef vec<ushort, N> Bits;
  METAL_FUNC static typename Bits::__native bits(vec<bfloat, N> x) { return as_type<Bits>(x).__v; }
  METAL_FUNC static vec<bfloat, N> back(typename Bits::__native x) {
    return as_type<vec<bfloat, N>>(Bits(__metal_native(), x));
  }
};

}  // namespace metal
