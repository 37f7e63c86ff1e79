// Maths functions that are one AIR function each: __metal_name(x, fast) and what users call.
#pragma once
#include <metalgen/air.h>

// AIR has fast forms for float alone.
#define __METAL_DECLARE_1(T, S, NAME) T __air_##NAME(T) __asm("air." #NAME "." S) __AIR_PURE;
#define __METAL_DECLARE_2(T, S, NAME) T __air_##NAME(T, T) __asm("air." #NAME "." S) __AIR_PURE;
#define __METAL_DECLARE_3(T, S, NAME) T __air_##NAME(T, T, T) __asm("air." #NAME "." S) __AIR_PURE;

#define __METAL_CHOOSE_1(T, S, NAME)                                                     \
  METAL_FUNC T __metal_##NAME(T x, bool fast) {                                          \
    return fast ? __air_fast_##NAME(x) : __air_##NAME(x);                                \
  }
#define __METAL_CHOOSE_2(T, S, NAME)                                                     \
  METAL_FUNC T __metal_##NAME(T x, T y, bool fast) {                                     \
    return fast ? __air_fast_##NAME(x, y) : __air_##NAME(x, y);                          \
  }
#define __METAL_CHOOSE_3(T, S, NAME)                                                     \
  METAL_FUNC T __metal_##NAME(T x, T y, T z, bool fast) {                                \
    return fast ? __air_fast_##NAME(x, y, z) : __air_##NAME(x, y, z);                    \
  }
#define __METAL_PLAIN_1(T, S, NAME) \
  METAL_FUNC T __metal_##NAME(T x, bool) { return __air_##NAME(x); }
#define __METAL_PLAIN_2(T, S, NAME) \
  METAL_FUNC T __metal_##NAME(T x, T y, bool) { return __air_##NAME(x, y); }
#define __METAL_PLAIN_3(T, S, NAME) \
  METAL_FUNC T __metal_##NAME(T x, T y, T z, bool) { return __air_##NAME(x, y, z); }

#define __METAL_AIR(ARITY, NAME)                                                         \
  __METAL_EACH_FLOAT(__METAL_DECLARE_##ARITY, NAME)                                      \
  __METAL_EACH_FLOAT(__METAL_DECLARE_##ARITY, fast_##NAME)                               \
  __METAL_EACH_FLOAT(__METAL_CHOOSE_##ARITY, NAME)                                       \
  __METAL_EACH_HALF(__METAL_DECLARE_##ARITY, NAME)                                       \
  __METAL_EACH_HALF(__METAL_PLAIN_##ARITY, NAME)

// What users call, in one namespace; FUNCTION differs from NAME where Metal has two names for one
// function.
#define __METAL_CALL_1(FUNCTION, NAME, FAST)                                             \
  METAL_FUNC float FUNCTION(float x) { return __metal_##NAME(x, FAST); }                 \
  template <typename V, typename R = __metal_real_t<V>>                                  \
  METAL_FUNC R FUNCTION(V x) {                                                           \
    return R(__metal_native(), __metal_##NAME(R(x).__v, FAST));                          \
  }                                                                                      \
  template <typename V, typename R = __metal_brain_t<V>, typename = void>                \
  METAL_FUNC R FUNCTION(V x) {                                                           \
    typedef __metal_widened_t<R> F;                                                      \
    return R(F(__metal_native(), __metal_##NAME(F(R(x)).__v, FAST)));                    \
  }
#define __METAL_CALL_2(FUNCTION, NAME, FAST)                                             \
  METAL_FUNC float FUNCTION(float x, float y) { return __metal_##NAME(x, y, FAST); }     \
  template <typename V, typename W, typename R = __metal_real_t<V, W>>                   \
  METAL_FUNC R FUNCTION(V x, W y) {                                                      \
    return R(__metal_native(), __metal_##NAME(R(x).__v, R(y).__v, FAST));                \
  }                                                                                      \
  template <typename V, typename W, typename R = __metal_brain_t<V, W>, typename = void> \
  METAL_FUNC R FUNCTION(V x, W y) {                                                      \
    typedef __metal_widened_t<R> F;                                                      \
    return R(F(__metal_native(), __metal_##NAME(F(R(x)).__v, F(R(y)).__v, FAST)));       \
  }
#define __METAL_CALL_3(FUNCTION, NAME, FAST)                                             \
  METAL_FUNC float FUNCTION(float x, float y, float z) {                                 \
    return __metal_##NAME(x, y, z, FAST);                                                \
  }                                                                                      \
  template <typename V, typename W, typename X, typename R = __metal_real_t<V, W, X>>    \
  METAL_FUNC R FUNCTION(V x, W y, X z) {                                                 \
    return R(__metal_native(), __metal_##NAME(R(x).__v, R(y).__v, R(z).__v, FAST));      \
  }                                                                                      \
  template <typename V, typename W, typename X, typename R = __metal_brain_t<V, W, X>,   \
            typename = void>                                                             \
  METAL_FUNC R FUNCTION(V x, W y, X z) {                                                 \
    typedef __metal_widened_t<R> F;                                                      \
    return R(F(__metal_native(),                                                         \
               __metal_##NAME(F(R(x)).__v, F(R(y)).__v, F(R(z)).__v, FAST)));            \
  }

// fast:: and precise:: know float alone: a half becomes one, and so does the result.
#define __METAL_HALF_1(FUNCTION, NAME, FAST)                                             \
  METAL_FUNC half FUNCTION(half x) { return __metal_##NAME(x, FAST); }
#define __METAL_HALF_2(FUNCTION, NAME, FAST)                                             \
  METAL_FUNC half FUNCTION(half x, half y) { return __metal_##NAME(x, y, FAST); }
#define __METAL_HALF_3(FUNCTION, NAME, FAST)                                             \
  METAL_FUNC half FUNCTION(half x, half y, half z) { return __metal_##NAME(x, y, z, FAST); }

#define __METAL_CALLS(ARITY, FUNCTION, NAME)                                             \
  namespace metal {                                                                      \
  __METAL_CALL_##ARITY(FUNCTION, NAME, __METAL_MAYBE_FAST_MATH__)                        \
  __METAL_HALF_##ARITY(FUNCTION, NAME, __METAL_MAYBE_FAST_MATH__)                        \
  namespace fast {                                                                       \
  __METAL_CALL_##ARITY(FUNCTION, NAME, true)                                             \
  }                                                                                      \
  namespace precise {                                                                    \
  __METAL_CALL_##ARITY(FUNCTION, NAME, false)                                            \
  }                                                                                      \
  }
#define __METAL_MATH(ARITY, NAME) \
  __METAL_AIR(ARITY, NAME)        \
  __METAL_CALLS(ARITY, NAME, NAME)

__METAL_MATH(1, acos)
__METAL_MATH(1, acosh)
__METAL_MATH(1, asin)
__METAL_MATH(1, asinh)
__METAL_MATH(1, atan)
__METAL_MATH(1, atanh)
__METAL_MATH(1, ceil)
__METAL_MATH(1, cos)
__METAL_MATH(1, cosh)
__METAL_MATH(1, cospi)
__METAL_MATH(1, exp)
__METAL_MATH(1, exp10)
__METAL_MATH(1, exp2)
__METAL_MATH(1, fabs)
__METAL_MATH(1, floor)
__METAL_MATH(1, fract)
__METAL_MATH(1, log)
__METAL_MATH(1, log10)
__METAL_MATH(1, log2)
__METAL_MATH(1, rint)
__METAL_MATH(1, round)
__METAL_MATH(1, rsqrt)
__METAL_MATH(1, saturate)
__METAL_MATH(1, sin)
__METAL_MATH(1, sinh)
__METAL_MATH(1, sinpi)
__METAL_MATH(1, sqrt)
__METAL_MATH(1, tan)
__METAL_MATH(1, tanh)
__METAL_MATH(1, tanpi)
__METAL_MATH(1, trunc)
__METAL_MATH(2, atan2)
__METAL_MATH(2, fmax)
__METAL_MATH(2, fmin)
__METAL_MATH(2, fmod)
__METAL_MATH(2, pow)
__METAL_MATH(2, powr)
__METAL_AIR(3, clamp)
__METAL_CALLS(1, abs, fabs)
__METAL_CALLS(2, max, fmax)
__METAL_CALLS(2, min, fmin)
__METAL_CALLS(3, clamp, clamp)

// fma is exact, so it has no fast form.
__METAL_EACH_FLOAT(__METAL_DECLARE_3, fma)
__METAL_EACH_HALF(__METAL_DECLARE_3, fma)
#define __METAL_EXACT_FMA(T, S, ...) \
  METAL_FUNC T __metal_fma(T x, T y, T z, bool = false) { return __air_fma(x, y, z); }
__METAL_EACH_FLOAT(__METAL_EXACT_FMA, )
__METAL_EACH_HALF(__METAL_EXACT_FMA, )
#undef __METAL_EXACT_FMA
__METAL_CALLS(3, fma, fma)
