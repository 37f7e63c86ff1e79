// One lane or thirty-two: the types and operations that let every function here be written once.
//
// `T` is `float` or `float32`, a vector with a lane for each thread of a SIMD-group. The sources
// are compiled with -ffp-contract=on: `a * b + c` within one expression is one FMA where the host
// has it, so constants are split such that no result depends on the fusion.

#pragma once

namespace metalgen {

template <class E>
using Vector32 = E __attribute__((ext_vector_type(32)));

using float32 = Vector32<float>;
using double32 = Vector32<double>;

template <class T>
struct Companions;

template <>
struct Companions<float> {
  using Int = int;
  using Long = long;
  using Double = double;
};

template <>
struct Companions<float32> {
  using Int = Vector32<int>;
  using Long = Vector32<long>;
  using Double = double32;
};

template <>
struct Companions<double> {
  using Long = long;
};

template <>
struct Companions<double32> {
  using Long = Vector32<long>;
};

template <class T>
using Int = typename Companions<T>::Int;
template <class T>
using Long = typename Companions<T>::Long;
template <class T>
using Double = typename Companions<T>::Double;

inline constexpr float kInfinity = __builtin_inff();
inline constexpr float kNaN = __builtin_nanf("");

template <class T>
Int<T> bits(T x) {
  return __builtin_bit_cast(Int<T>, x);
}

template <class T>
T from_bits(Int<T> x) {
  return __builtin_bit_cast(T, x);
}

inline double to_double(float x) { return x; }
inline double32 to_double(float32 x) { return __builtin_convertvector(x, double32); }
inline float to_float(double x) { return static_cast<float>(x); }
inline float32 to_float(double32 x) { return __builtin_convertvector(x, float32); }
inline float to_float(int x) { return static_cast<float>(x); }
inline float32 to_float(Vector32<int> x) { return __builtin_convertvector(x, float32); }
inline long to_long(int x) { return x; }
inline Vector32<long> to_long(Vector32<int> x) {
  return __builtin_convertvector(x, Vector32<long>);
}
inline double to_double(long x) { return static_cast<double>(x); }
inline double32 to_double(Vector32<long> x) { return __builtin_convertvector(x, double32); }

// The low 32 bits, which is what survives of a `double` whose fraction holds a small integer.
inline int low_bits(long x) { return static_cast<int>(x); }
inline Vector32<int> low_bits(Vector32<long> x) {
  return __builtin_convertvector(x, Vector32<int>);
}

template <class Mask, class T>
T select(Mask mask, T yes, T no) {
  return mask ? yes : no;
}

inline bool any(bool mask) { return mask; }
inline bool any(Vector32<int> mask) { return __builtin_reduce_or(mask) != 0; }
inline bool any(Vector32<long> mask) { return __builtin_reduce_or(mask) != 0; }

// Lane access for the rare paths that go lane by lane.
template <class T>
inline constexpr int kLanes = sizeof(T) / sizeof(float);
inline float lane(float x, int) { return x; }
inline float lane(float32 x, int i) { return x[i]; }
inline void set_lane(float& x, int, float value) { x = value; }
inline void set_lane(float32& x, int i, float value) { x[i] = value; }
inline void set_lane(int& x, int, int value) { x = value; }
inline void set_lane(Vector32<int>& x, int i, int value) { x[i] = value; }

template <class T>
T abs(T x) {
  return __builtin_elementwise_abs(x);
}

template <class T>
T copy_sign(T magnitude, T sign) {
  return __builtin_elementwise_copysign(magnitude, sign);
}

template <class T>
T sqrt(T x) {
  return __builtin_elementwise_sqrt(x);
}

// c0 + c1 x + c2 x² + ... by Horner's rule.
template <class T, class C>
T polynomial(T, C c0) {
  return T(c0);
}

template <class T, class C, class... Rest>
T polynomial(T x, C c0, Rest... rest) {
  return polynomial(x, rest...) * x + T(c0);
}

// x + x³ p for an odd function's series; keeps the sign of zero.
template <class T>
T odd(T x, T p) {
  return select(x == 0, x, x * (x * x * p) + x);
}

// The nearest integer of a `float` below 2²² or a `double` below 2⁵¹, as a number and in the low
// bits: unlike a conversion to int this is defined for NaN, and one addition.
template <class T>
struct Nearest {
  T value;
  T shifted;
};

inline float rounding_shift(float) { return 0x1.8p23f; }
inline double rounding_shift(double) { return 0x1.8p52; }
inline float rounding_shift(float32) { return 0x1.8p23f; }
inline double rounding_shift(double32) { return 0x1.8p52; }

template <class T, class C>
Nearest<T> nearest_product(T x, C factor) {
  const T shifted = x * T(factor) + T(rounding_shift(x));
  return {shifted - T(rounding_shift(x)), shifted};
}

}  // namespace metalgen
