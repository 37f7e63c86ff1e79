// How headers declare the functions of AIR, and how vector overloads find their vector.
#pragma once
#include <metal_type_traits>
#include <metal_types>

// An overload set in C++, one AIR function per asm label. In OpenCL clang takes every function for
// convergent and lets none opt out, so that is only said where it matters.
#define __AIR_PURE __attribute__((const, nothrow))
#define __AIR_CONVERGENT __attribute__((convergent, nothrow))
#define __AIR_MEMORY __attribute__((nothrow))

typedef float __metal_v2f32 __attribute__((ext_vector_type(2)));
typedef float __metal_v3f32 __attribute__((ext_vector_type(3)));
typedef float __metal_v4f32 __attribute__((ext_vector_type(4)));
typedef half __metal_v2f16 __attribute__((ext_vector_type(2)));
typedef half __metal_v3f16 __attribute__((ext_vector_type(3)));
typedef half __metal_v4f16 __attribute__((ext_vector_type(4)));

// M(type, suffix, ...) for every floating-point type of AIR's maths.
#define __METAL_EACH_FLOAT(M, ...)   \
  M(float, "f32", __VA_ARGS__)       \
  M(__metal_v2f32, "v2f32", __VA_ARGS__) \
  M(__metal_v3f32, "v3f32", __VA_ARGS__) \
  M(__metal_v4f32, "v4f32", __VA_ARGS__)
#define __METAL_EACH_HALF(M, ...)    \
  M(half, "f16", __VA_ARGS__)        \
  M(__metal_v2f16, "v2f16", __VA_ARGS__) \
  M(__metal_v3f16, "v3f16", __VA_ARGS__) \
  M(__metal_v4f16, "v4f16", __VA_ARGS__)

// M(type, suffix, ...) for the vectors of one integer type.
#define __METAL_EACH_LENGTH(M, T, S, ...)                        \
  M(T, S, __VA_ARGS__)                                           \
  M(__METAL_NATIVE(T, 2), "v2" S, __VA_ARGS__)                   \
  M(__METAL_NATIVE(T, 3), "v3" S, __VA_ARGS__)                   \
  M(__METAL_NATIVE(T, 4), "v4" S, __VA_ARGS__)
#define __METAL_NATIVE(T, N) __metal_storage<T, N>::type

namespace metal {

// The vector type that a mix of vectors, packed vectors and scalars is computed in: void if there
// is none, or two.
template <typename... T>
struct __metal_joint {
  typedef void type;
};
template <typename T, int N>
struct __metal_joint<vec<T, N>> {
  typedef vec<T, N> type;
};
template <typename T, int N>
struct __metal_joint<packed_vec<T, N>> {
  typedef vec<T, N> type;
};
template <typename First, typename Second, typename... Rest>
struct __metal_joint<First, Second, Rest...> {
  typedef typename __metal_joint<First>::type Left;
  typedef typename __metal_joint<Second, Rest...>::type Right;
  static constexpr constant bool left_only = __is_void(Right) && !__is_class(Second);
  static constexpr constant bool right_only = __is_void(Left) && !__is_class(First);
  typedef conditional_t<left_only || __is_same(Left, Right), Left,
                        conditional_t<right_only, Right, void>> type;
};

template <typename V>
struct __metal_element {
  typedef void type;
};
template <typename T, int N>
struct __metal_element<vec<T, N>> {
  typedef T type;
};

template <typename V>
constexpr constant int __metal_length = 1;
template <typename T, int N>
constexpr constant int __metal_length<vec<T, N>> = N;

template <typename V, bool wanted>
using __metal_only = enable_if_t<wanted && !__is_void(V), V>;
template <typename V>
using __metal_element_t = typename __metal_element<V>::type;

// Result types of vector overloads: any vector, one of float or half, one of integers.
template <typename... T>
using __metal_vector_t = __metal_only<typename __metal_joint<T...>::type, true>;
template <typename... T>
using __metal_real_t =
    __metal_only<__metal_vector_t<T...>,
                 __is_same(__metal_element_t<__metal_vector_t<T...>>, float) ||
                     __is_same(__metal_element_t<__metal_vector_t<T...>>, half)>;
// One of bfloat, for which maths is done in float.
template <typename... T>
using __metal_brain_t =
    __metal_only<__metal_vector_t<T...>,
                 __is_same(__metal_element_t<__metal_vector_t<T...>>, bfloat)>;
template <typename V>
using __metal_widened_t = vec<float, __metal_length<V>>;
template <typename... T>
using __metal_whole_t = __metal_only<__metal_vector_t<T...>,
                                     __metal_is_integer<__metal_element_t<__metal_vector_t<T...>>>>;
template <typename... T>
using __metal_number_t =
    __metal_only<__metal_vector_t<T...>,
                 !__is_same(__metal_element_t<__metal_vector_t<T...>>, bool)>;

}  // namespace metal
