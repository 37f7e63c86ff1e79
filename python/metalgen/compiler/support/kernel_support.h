// What the rewritten source leans on: describing kernels' types, native vectors for positions, and
// storage for threadgroup variables inside functions. Included behind the Metal headers.
#pragma once

namespace __metalgen {

// The type of a kernel in clang's words, "void (__global float *, metal::vec<unsigned int, 3>)".
template <class F>
constexpr __constant const char* describe() {
  return __PRETTY_FUNCTION__;
}

// Positions arrive as LLVM vectors and are handed on as Metal's vector classes.
template <class T>
struct parameter {
  typedef T native;
  static T pass(T value) { return value; }
};

template <class T, auto N>
struct parameter<metal::vec<T, N>> {
  typedef T native __attribute__((ext_vector_type(N)));
  static metal::vec<T, N> pass(native value) {
    if constexpr (N == 2) {
      return metal::vec<T, N>(value.x, value.y);
    } else if constexpr (N == 3) {
      return metal::vec<T, N>(value.x, value.y, value.z);
    } else {
      return metal::vec<T, N>(value.x, value.y, value.z, value.w);
    }
  }
};

// What a parameter points or refers to.
template <class T>
struct pointee {
  typedef T type;
};
template <class T>
struct pointee<T*> {
  typedef T type;
};
template <class T>
struct pointee<T&> {
  typedef T type;
};

template <class T>
constexpr unsigned long size_of() {
  if constexpr (__is_void(typename pointee<T>::type)) {
    return 1;
  } else {
    return sizeof(typename pointee<T>::type);
  }
}

template <class T>
constexpr unsigned long alignment_of() {
  if constexpr (__is_void(typename pointee<T>::type)) {
    return 1;
  } else {
    return alignof(typename pointee<T>::type);
  }
}

template <int I, class F>
struct argument;
template <int I, class First, class... Rest>
struct argument<I, void(First, Rest...)> {
  typedef typename argument<I - 1, void(Rest...)>::type type;
};
template <class First, class... Rest>
struct argument<0, void(First, Rest...)> {
  typedef First type;
};

template <int I, class F>
using argument_type = typename argument<I, F>::type;
template <int I, class F>
using native_type = typename parameter<argument_type<I, F>>::native;

template <int I, class F>
argument_type<I, F> pass(native_type<I, F> value) {
  return parameter<argument_type<I, F>>::pass(value);
}

// clang converts between the two 16-bit floating-point types by way of float only.
template <class T>
T widened(T value) {
  return value;
}
inline float widened(half value) { return value; }
inline float widened(__bf16 value) { return value; }

// One threadgroup variable: `Tag` is local to the function that declares it, so every instantiation
// of a function template has its own. Calls are replaced by a global once compiled.
template <class Tag, class T>
__attribute__((const)) __local T& threadgroup_storage(unsigned long size, unsigned long alignment);

}  // namespace __metalgen
