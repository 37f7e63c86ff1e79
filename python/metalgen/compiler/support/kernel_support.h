// What the rewritten source leans on: describing kernels' types, native vectors for positions, and
// storage for threadgroup variables inside functions. Included behind the Metal headers.
#pragma once

// In the place of `thread` on references that have to bind to temporaries.
#define __metalgen_any_space

namespace metal {
template <class T, unsigned long N>
struct array;
}

namespace __metalgen {

// The type of a kernel in clang's words, "void (__global float *, metal::vec<unsigned int, 3>)".
template <class F>
constexpr __constant const char* describe() {
  return __PRETTY_FUNCTION__;
}

// What `describe` is given for a function constant.
template <class T, long Index>
struct function_constant;

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

// The members of a class, for those that the rewriting has given __metalgen_fields.
template <class T>
struct bare {
  typedef T type;
};
template <class T>
struct bare<const T> : bare<T> {};
template <class T>
struct bare<__global T> : bare<T> {};
template <class T>
struct bare<const __global T> : bare<T> {};
template <class T>
struct bare<__constant T> : bare<T> {};
template <class T>
struct bare<const __constant T> : bare<T> {};
template <class T>
struct bare<__local T> : bare<T> {};
template <class T>
struct bare<const __local T> : bare<T> {};
template <class T>
struct bare<__private T> : bare<T> {};
template <class T>
struct bare<const __private T> : bare<T> {};
template <class T>
struct bare<__generic T> : bare<T> {};
template <class T>
struct bare<const __generic T> : bare<T> {};

template <class T>
struct element {
  typedef T type;
  static constexpr __constant unsigned long count = 0;
};
template <class T, unsigned long N>
struct element<T[N]> {
  typedef typename element<T>::type type;
  static constexpr __constant unsigned long count = N * (element<T>::count ? element<T>::count : 1);
};

struct no_fields;
// Of a class with bases.
struct derived;
template <int Class, class... Fields>
struct field_list;
template <class T, unsigned long Offset, unsigned long Size, unsigned long Count, class Inner>
struct field;

template <class...>
struct nothing {
  typedef void type;
};
template <class T, class = void>
struct fields_of {
  typedef no_fields type;
};
template <class T>
struct fields_of<T, typename nothing<decltype(T::template __metalgen_fields<T>())>::type> {
  typedef decltype(T::template __metalgen_fields<T>()) type;
};

template <class T, unsigned long Offset, class E = typename element<T>::type>
using field_of =
    field<E, Offset, sizeof(E), element<T>::count, typename fields_of<typename bare<E>::type>::type>;

// metal::array is a struct of Metal's library with one member, which has no class number.
template <class T, unsigned long N>
struct fields_of<::metal::array<T, N>> {
  typedef field_list<-1, field_of<T[N], 0>> type;
};

// A buffer of pointers is one of structs with a pointer each.
template <class T>
struct fields_of_pointee : fields_of<T> {};
template <class T>
struct fields_of_pointee<T*> {
  typedef field_list<-1, field_of<T*, 0>> type;
};

template <class... Lists>
struct list;
template <class F>
struct parameter_fields;
template <class... P>
struct parameter_fields<void(P...)> {
  typedef list<typename fields_of_pointee<typename bare<typename element<typename pointee<P>::type>::type>::type>::type...> type;
};

// clang converts between the two 16-bit floating-point types by way of float only.
template <class T>
T widened(T value) {
  return value;
}
inline float widened(half value) { return value; }
inline float widened(__bf16 value) { return value; }

// The value of an object, wherever it lies.
template <class T>
typename bare<T>::type loaded(const T& value) {
  return value;
}

// Functions that a source declares by their names in AIR, which take vectors as LLVM has them.
template <class T>
struct linked {
  typedef T native;
  static native give(T value) { return value; }
  static T take(native value) { return value; }
};
template <>
struct linked<void> {
  typedef void native;
};
template <class T, auto N>
struct linked<metal::vec<T, N>> {
  typedef decltype(metal::vec<T, N>().__v) native;
  static native give(metal::vec<T, N> value) { return value.__v; }
  static metal::vec<T, N> take(native value) { return metal::vec<T, N>(__metal_native(), value); }
};
template <class F>
struct linked_function;
template <class R, class... P>
struct linked_function<R(P...)> {
  typedef R returned;
  typedef typename linked<R>::native native;
  template <int I>
  using at = typename argument<I, void(P...)>::type;
  template <int I>
  using native_at = typename linked<at<I>>::native;
  static R taken(typename linked<R>::native value) { return linked<R>::take(value); }
};
template <class R>
struct linked_function<R()> {
  typedef R returned;
  typedef typename linked<R>::native native;
  static R taken(typename linked<R>::native value) { return linked<R>::take(value); }
};
template <class T>
typename linked<T>::native give(T value) {
  return linked<T>::give(value);
}

// The object of a member function, which Metal has in thread memory where nothing else is said.
template <class T>
__private T* in_thread(__generic T* object) {
  return (__private T*)object;
}

// An object's bytes, where a class cannot be copied from constant memory member by member.
template <class T>
struct alignas(T) bytes_of {
  unsigned char bytes[sizeof(T)];
  bytes_of(const __constant bytes_of&) = default;
};
template <class T>
void copy_bytes(__generic T* to, const __constant T* from) {
  *(__generic bytes_of<T>*)to = bytes_of<T>(*(const __constant bytes_of<T>*)from);
}

__attribute__((const)) bool is_function_constant_defined(const __constant void* variable) __asm(
    "air.is_function_constant_defined");

// One threadgroup variable: `Tag` is local to the function that declares it, so every instantiation
// of a function template has its own. Calls are replaced by a global once compiled.
template <class Tag, class T>
__attribute__((const)) __local T& threadgroup_storage(unsigned long size, unsigned long alignment);

}  // namespace __metalgen
