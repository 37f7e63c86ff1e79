// Assignment operators of vectors, once per address space.
#pragma once

namespace metal {

// Parameters of this type take no part in deduction, so the other operand decides and scalars convert.
template <typename T>
struct __metal_identity {
  typedef T type;
};
template <typename T, int N>
using __metal_operand = typename __metal_identity<vec<T, N>>::type;

#define __METAL_ASSIGN_IN(SPACE, OP)                                                       \
  template <typename T, int N>                                                             \
  METAL_FUNC SPACE vec<T, N>& operator OP##=(SPACE vec<T, N>& a, __metal_operand<T, N> b) { \
    return a = a OP b;                                                                     \
  }
#define __METAL_ASSIGN(OP)          \
  __METAL_ASSIGN_IN(thread, OP)     \
  __METAL_ASSIGN_IN(device, OP)     \
  __METAL_ASSIGN_IN(threadgroup, OP)
__METAL_ASSIGN(+)
__METAL_ASSIGN(-)
__METAL_ASSIGN(*)
__METAL_ASSIGN(/)
__METAL_ASSIGN(%)
__METAL_ASSIGN(&)
__METAL_ASSIGN(|)
__METAL_ASSIGN(^)
__METAL_ASSIGN(<<)
__METAL_ASSIGN(>>)
#undef __METAL_ASSIGN
#undef __METAL_ASSIGN_IN

#define __METAL_STEP(SPACE)                                          \
  template <typename T, int N>                                       \
  METAL_FUNC SPACE vec<T, N>& operator++(SPACE vec<T, N>& a) {       \
    return a = a + T(1);                                             \
  }                                                                  \
  template <typename T, int N>                                       \
  METAL_FUNC SPACE vec<T, N>& operator--(SPACE vec<T, N>& a) {       \
    return a = a - T(1);                                             \
  }                                                                  \
  template <typename T, int N>                                       \
  METAL_FUNC vec<T, N> operator++(SPACE vec<T, N>& a, int) {         \
    vec<T, N> before = a;                                            \
    a = before + T(1);                                               \
    return before;                                                   \
  }                                                                  \
  template <typename T, int N>                                       \
  METAL_FUNC vec<T, N> operator--(SPACE vec<T, N>& a, int) {         \
    vec<T, N> before = a;                                            \
    a = before - T(1);                                               \
    return before;                                                   \
  }
__METAL_STEP(thread)
__METAL_STEP(device)
__METAL_STEP(threadgroup)
#undef __METAL_STEP

}  // namespace metal
