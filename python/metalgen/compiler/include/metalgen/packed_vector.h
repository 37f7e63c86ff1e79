// metal::packed_vec<T, N>: vectors laid out like arrays; arithmetic goes through vec<T, N>.
#pragma once
#include <metalgen/vector_swizzles.h>

namespace metal {

template <typename T, int N>
struct packed_vec;

#pragma push_macro("__METAL_LOAD")
#pragma push_macro("__METAL_PICK")
#pragma push_macro("__METAL_STORE")
#undef __METAL_LOAD
#undef __METAL_PICK
#undef __METAL_STORE
#define __METAL_LOAD(S) __vec(*this).S
#define __METAL_PICK(TYPE, S, ...) __vec(*this).S
#define __METAL_STORE(S, VALUE) \
  __vec whole = *this;          \
  whole.__v.S = VALUE;          \
  __store(whole)

template <typename T>
struct packed_vec<T, 2> {
#define __METAL_N 2
#include <metalgen/packed_body.inc>
#include <metalgen/swizzle_list.inc>
#undef __METAL_N
  METAL_FUNC constexpr packed_vec(T x, T y) : __elements{x, y} {}
  METAL_FUNC constexpr packed_vec(T x, T y) constant : __elements{x, y} {}
  METAL_FUNC constexpr packed_vec(__vec v) constant
      : __elements{T(v.__v[0]), T(v.__v[1])} {}
};

template <typename T>
struct packed_vec<T, 3> {
#define __METAL_N 3
#include <metalgen/packed_body.inc>
#include <metalgen/swizzle_list.inc>
#undef __METAL_N
  METAL_FUNC constexpr packed_vec(T x, T y, T z) : __elements{x, y, z} {}
  METAL_FUNC constexpr packed_vec(T x, T y, T z) constant : __elements{x, y, z} {}
  METAL_FUNC constexpr packed_vec(__vec v) constant
      : __elements{T(v.__v[0]), T(v.__v[1]), T(v.__v[2])} {}
};

template <typename T>
struct packed_vec<T, 4> {
#define __METAL_N 4
#include <metalgen/packed_body.inc>
#include <metalgen/swizzle_list.inc>
#undef __METAL_N
  METAL_FUNC constexpr packed_vec(T x, T y, T z, T w) : __elements{x, y, z, w} {}
  METAL_FUNC constexpr packed_vec(T x, T y, T z, T w) constant : __elements{x, y, z, w} {}
  METAL_FUNC constexpr packed_vec(__vec v) constant
      : __elements{T(v.__v[0]), T(v.__v[1]), T(v.__v[2]), T(v.__v[3])} {}
};

#pragma pop_macro("__METAL_STORE")
#pragma pop_macro("__METAL_PICK")
#pragma pop_macro("__METAL_LOAD")

}  // namespace metal
