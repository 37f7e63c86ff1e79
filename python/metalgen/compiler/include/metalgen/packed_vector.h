// metal::packed_vec<T, N>: vectors laid out like arrays, as packed_float3 is; arithmetic goes through vec<T, N>.
#pragma once
#include <metalgen/vector_swizzles.h>

namespace metal {

template <typename T, int N>
struct packed_vec;

#pragma push_macro("__METAL_LOAD")
#pragma push_macro("__METAL_STORE")
#pragma push_macro("__METAL_REPEATED")
#undef __METAL_LOAD
#undef __METAL_STORE
// Swizzles that repeat a component would double the time that the headers take, and are not written on packed vectors.
#undef __METAL_REPEATED
#define __METAL_REPEATED(...)
#define __METAL_LOAD(S) (__vec(*this).__v.S)
#define __METAL_STORE(S, VALUE) \
  __vec whole = *this;          \
  whole.__v.S = VALUE;          \
  *this = whole

template <typename T>
struct packed_vec<T, 2> {
#define __METAL_N 2
#include <metalgen/packed_body.inc>
#include <metalgen/swizzle_list.inc>
#undef __METAL_N
  METAL_FUNC constexpr packed_vec(T x, T y) : __elements{x, y} {}
};

template <typename T>
struct packed_vec<T, 3> {
#define __METAL_N 3
#include <metalgen/packed_body.inc>
#include <metalgen/swizzle_list.inc>
#undef __METAL_N
  METAL_FUNC constexpr packed_vec(T x, T y, T z) : __elements{x, y, z} {}
  METAL_FUNC constexpr packed_vec(__vec2 xy, T z) : packed_vec(__vec3(xy, z)) {}
  METAL_FUNC constexpr packed_vec(T x, __vec2 yz) : packed_vec(__vec3(x, yz)) {}
};

template <typename T>
struct packed_vec<T, 4> {
#define __METAL_N 4
#include <metalgen/packed_body.inc>
#include <metalgen/swizzle_list.inc>
#undef __METAL_N
  METAL_FUNC constexpr packed_vec(T x, T y, T z, T w) : __elements{x, y, z, w} {}
  METAL_FUNC constexpr packed_vec(__vec2 xy, __vec2 zw) : packed_vec(__vec4(xy, zw)) {}
  METAL_FUNC constexpr packed_vec(__vec3 xyz, T w) : packed_vec(__vec4(xyz, w)) {}
  METAL_FUNC constexpr packed_vec(T x, __vec3 yzw) : packed_vec(__vec4(x, yzw)) {}
};

#pragma pop_macro("__METAL_REPEATED")
#pragma pop_macro("__METAL_STORE")
#pragma pop_macro("__METAL_LOAD")

#define __METAL_PACKED_BINARY(RESULT, OP)                                              \
  template <typename T, int N>                                                         \
  METAL_FUNC constexpr RESULT operator OP(packed_vec<T, N> a, packed_vec<T, N> b) {    \
    return vec<T, N>(a) OP vec<T, N>(b);                                               \
  }                                                                                    \
  template <typename T, int N>                                                         \
  METAL_FUNC constexpr RESULT operator OP(packed_vec<T, N> a, __metal_operand<T, N> b) { \
    return vec<T, N>(a) OP b;                                                          \
  }                                                                                    \
  template <typename T, int N>                                                         \
  METAL_FUNC constexpr RESULT operator OP(__metal_operand<T, N> a, packed_vec<T, N> b) { \
    return a OP vec<T, N>(b);                                                          \
  }
#define __METAL_PACKED_ASSIGN_IN(SPACE, OP)                                            \
  template <typename T, int N>                                                         \
  METAL_FUNC SPACE packed_vec<T, N>& operator OP##=(SPACE packed_vec<T, N>& a,         \
                                                    __metal_operand<T, N> b) {         \
    return a = vec<T, N>(a) OP b;                                                      \
  }
#define __METAL_PACKED_ARITHMETIC(OP)                                                  \
  __METAL_PACKED_BINARY(vec<__METAL_COMMA(T, N)>, OP)                                  \
  __METAL_PACKED_ASSIGN_IN(thread, OP)                                                 \
  __METAL_PACKED_ASSIGN_IN(device, OP)                                                 \
  __METAL_PACKED_ASSIGN_IN(threadgroup, OP)
#define __METAL_COMMA(A, B) A, B
#define __METAL_PACKED_COMPARE(OP) __METAL_PACKED_BINARY(vec<__METAL_COMMA(bool, N)>, OP)
__METAL_PACKED_ARITHMETIC(+)
__METAL_PACKED_ARITHMETIC(-)
__METAL_PACKED_ARITHMETIC(*)
__METAL_PACKED_ARITHMETIC(/)
__METAL_PACKED_ARITHMETIC(%)
__METAL_PACKED_ARITHMETIC(&)
__METAL_PACKED_ARITHMETIC(|)
__METAL_PACKED_ARITHMETIC(^)
__METAL_PACKED_ARITHMETIC(<<)
__METAL_PACKED_ARITHMETIC(>>)
__METAL_PACKED_COMPARE(==)
__METAL_PACKED_COMPARE(!=)
__METAL_PACKED_COMPARE(<)
__METAL_PACKED_COMPARE(>)
__METAL_PACKED_COMPARE(<=)
__METAL_PACKED_COMPARE(>=)
#undef __METAL_PACKED_COMPARE
#undef __METAL_COMMA
#undef __METAL_PACKED_ARITHMETIC
#undef __METAL_PACKED_ASSIGN_IN
#undef __METAL_PACKED_BINARY

template <typename T, int N>
METAL_FUNC constexpr vec<T, N> operator-(packed_vec<T, N> a) {
  return -vec<T, N>(a);
}

}  // namespace metal
