// Integer functions that LLVM has operations for: counting, saturation, rotation, bit fields.
#pragma once
#include <metalgen/air.h>

namespace metal {

template <typename T>
using __metal_integer_t = enable_if_t<__metal_is_integer<T> && !__is_same(T, bool), T>;

// One body for scalars and vectors: x, y, z are what clang's elementwise builtins take, E is the
// element's type.
#define __METAL_BITS_1(NAME, ...)                                   \
  template <typename T, typename E = __metal_integer_t<T>>          \
  METAL_FUNC T NAME(T x) {                                          \
    return __VA_ARGS__;                                             \
  }                                                                 \
  template <typename V, typename R = __metal_whole_t<V>>            \
  METAL_FUNC R NAME(V v) {                                          \
    typedef __metal_element_t<R> E;                                 \
    auto x = R(v).__v;                                              \
    return R(__metal_native(), __VA_ARGS__);                        \
  }
#define __METAL_BITS_2(NAME, ...)                                   \
  template <typename T, typename E = __metal_integer_t<T>>          \
  METAL_FUNC T NAME(T x, T y) {                                     \
    return __VA_ARGS__;                                             \
  }                                                                 \
  template <typename V, typename W, typename R = __metal_whole_t<V, W>> \
  METAL_FUNC R NAME(V v, W w) {                                     \
    typedef __metal_element_t<R> E;                                 \
    auto x = R(v).__v;                                              \
    auto y = R(w).__v;                                              \
    return R(__metal_native(), __VA_ARGS__);                        \
  }

__METAL_BITS_1(popcount, __builtin_elementwise_popcount(x))
__METAL_BITS_1(reverse_bits, __builtin_elementwise_bitreverse(x))
__METAL_BITS_2(addsat, __builtin_elementwise_add_sat(x, y))
__METAL_BITS_2(subsat, __builtin_elementwise_sub_sat(x, y))
__METAL_BITS_2(hadd, (x & y) + ((x ^ y) >> E(1)))
__METAL_BITS_2(rhadd, (x | y) - ((x ^ y) >> E(1)))
__METAL_BITS_2(rotate, __builtin_elementwise_fshl(x, x, y))
#undef __METAL_BITS_1
#undef __METAL_BITS_2

template <typename T, typename = __metal_integer_t<T>>
METAL_FUNC T clz(T x) {
  return __builtin_clzg(make_unsigned_t<T>(x), int(sizeof(T) * 8));
}
template <typename T, typename = __metal_integer_t<T>>
METAL_FUNC T ctz(T x) {
  return __builtin_ctzg(make_unsigned_t<T>(x), int(sizeof(T) * 8));
}
template <typename T, typename = __metal_integer_t<T>>
METAL_FUNC make_unsigned_t<T> absdiff(T x, T y) {
  typedef make_unsigned_t<T> U;
  return x < y ? U(U(y) - U(x)) : U(U(x) - U(y));
}
template <typename T, typename = __metal_integer_t<T>>
METAL_FUNC T mulhi(T x, T y) {
  if constexpr (sizeof(T) < 8) {
    typedef conditional_t<is_signed_v<T>, long, ulong> Wide;
    return T((Wide(x) * Wide(y)) >> (sizeof(T) * 8));
  } else {
    // Halves of 32 bits; the correction makes the unsigned product's upper half the signed one's.
    ulong a = ulong(x), b = ulong(y);
    ulong low = (a & 0xffffffffu) * (b & 0xffffffffu);
    ulong cross = (a >> 32) * (b & 0xffffffffu) + (low >> 32);
    ulong other = (a & 0xffffffffu) * (b >> 32) + (cross & 0xffffffffu);
    ulong high = (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32);
    if (is_signed_v<T>) high -= (x < 0 ? b : 0) + (y < 0 ? a : 0);
    return T(high);
  }
}
template <typename T, typename = __metal_integer_t<T>>
METAL_FUNC T madhi(T x, T y, T z) {
  return T(mulhi(x, y) + z);
}
template <typename T, typename = __metal_integer_t<T>>
METAL_FUNC T madsat(T x, T y, T z) {
  static_assert(sizeof(T) < 8, "madsat of 64-bit integers is not supported");
  typedef conditional_t<is_signed_v<T>, long, ulong> Wide;
  typedef conditional_t<is_signed_v<T>, long, ulong> Limit;
  constexpr int bits = sizeof(T) * 8;
  constexpr Limit top = is_signed_v<T> ? (Limit(1) << (bits - 1)) - 1 : (Limit(1) << bits) - 1;
  constexpr Limit bottom = is_signed_v<T> ? -top - 1 : 0;
  Wide exact = Wide(x) * Wide(y) + Wide(z);
  return T(exact > top ? top : (exact < bottom ? bottom : exact));
}

#define __METAL_ELEMENTWISE_1(NAME)                                                        \
  template <typename V, typename R = __metal_whole_t<V>>                                   \
  METAL_FUNC R NAME(V v) {                                                                 \
    R x = R(v);                                                                            \
    for (int i = 0; i < __metal_length<R>; ++i) x[i] = NAME(x[i]);                         \
    return x;                                                                              \
  }
#define __METAL_ELEMENTWISE_2(NAME)                                                        \
  template <typename V, typename W, typename R = __metal_whole_t<V, W>>                    \
  METAL_FUNC auto NAME(V v, W w) {                                                         \
    R x = R(v), y = R(w);                                                                  \
    vec<decltype(NAME(__metal_element_t<R>(), __metal_element_t<R>())), __metal_length<R>> result; \
    for (int i = 0; i < __metal_length<R>; ++i) result[i] = NAME(x[i], y[i]);              \
    return result;                                                                         \
  }
#define __METAL_ELEMENTWISE_3(NAME)                                                        \
  template <typename V, typename W, typename X, typename R = __metal_whole_t<V, W, X>>     \
  METAL_FUNC R NAME(V u, W v, X w) {                                                       \
    R x = R(u), y = R(v), z = R(w);                                                        \
    for (int i = 0; i < __metal_length<R>; ++i) x[i] = NAME(x[i], y[i], z[i]);             \
    return x;                                                                              \
  }
__METAL_ELEMENTWISE_1(clz)
__METAL_ELEMENTWISE_1(ctz)
__METAL_ELEMENTWISE_2(absdiff)
__METAL_ELEMENTWISE_2(mulhi)
__METAL_ELEMENTWISE_3(madhi)
__METAL_ELEMENTWISE_3(madsat)
#undef __METAL_ELEMENTWISE_1
#undef __METAL_ELEMENTWISE_2
#undef __METAL_ELEMENTWISE_3

METAL_FUNC int mul24(int x, int y) { return ((x << 8) >> 8) * ((y << 8) >> 8); }
METAL_FUNC uint mul24(uint x, uint y) { return (x & 0xffffffu) * (y & 0xffffffu); }
METAL_FUNC int mad24(int x, int y, int z) { return mul24(x, y) + z; }
METAL_FUNC uint mad24(uint x, uint y, uint z) { return mul24(x, y) + z; }
template <typename V, typename W, typename R = __metal_whole_t<V, W>>
METAL_FUNC R mul24(V x, W y) {
  if constexpr (is_signed_v<__metal_element_t<R>>) {
    return ((R(x) << 8) >> 8) * ((R(y) << 8) >> 8);
  } else {
    return (R(x) & 0xffffffu) * (R(y) & 0xffffffu);
  }
}
template <typename V, typename W, typename X, typename R = __metal_whole_t<V, W, X>>
METAL_FUNC R mad24(V x, W y, X z) {
  return mul24(R(x), R(y)) + R(z);
}

// `bits` bits of x from `offset` on, the sign spread if T is signed; and y's lowest bits put there.
template <typename T,
          typename R = conditional_t<__metal_is_integer<T>, T, typename __metal_joint<T>::type>,
          typename = enable_if_t<!__is_void(R)>>
METAL_FUNC R extract_bits(T x, uint offset, uint bits) {
  typedef conditional_t<__metal_is_integer<T>, T, __metal_element_t<R>> E;
  constexpr uint width = sizeof(E) * 8;
  if (bits == 0) return R(0);
  uint up = width - bits - offset;
  return R(R(R(x) << E(up)) >> E(up + offset));
}
template <typename T,
          typename R = conditional_t<__metal_is_integer<T>, T, typename __metal_joint<T>::type>,
          typename = enable_if_t<!__is_void(R)>>
METAL_FUNC R insert_bits(T base, __metal_identity_t<R> insert, uint offset, uint bits) {
  typedef conditional_t<__metal_is_integer<T>, T, __metal_element_t<R>> E;
  constexpr uint width = sizeof(E) * 8;
  if (bits == 0) return R(base);
  typedef make_unsigned_t<E> U;
  E mask = E(U(U(~U(0)) >> (width - bits)) << offset);
  return R((R(base) & E(~mask)) | (R(insert << E(offset)) & mask));
}

}  // namespace metal
