// Component names of vectors: properties whose accessors exist once per address space.
#pragma once

// A property reads as a value of exactly the type named, so swizzles take part in template
// deduction like any vector. The unqualified getter serves temporaries too; setters want an lvalue,
// so that assigning to a component of a temporary is refused.
#define __METAL_GETTER(TYPE, S, VALUE)                                       \
  METAL_FUNC constexpr TYPE __get_##S() const thread { return VALUE; }      \
  METAL_FUNC constexpr TYPE __get_##S() const device { return VALUE; }      \
  METAL_FUNC constexpr TYPE __get_##S() const constant { return VALUE; }    \
  METAL_FUNC constexpr TYPE __get_##S() const threadgroup { return VALUE; } \
  METAL_FUNC constexpr TYPE __get_##S() const { return VALUE; }
#define __METAL_SETTER(TYPE, S, STATEMENT)                         \
  METAL_FUNC TYPE __put_##S(TYPE value) thread& { STATEMENT; return value; } \
  METAL_FUNC TYPE __put_##S(TYPE value) device& { STATEMENT; return value; } \
  METAL_FUNC TYPE __put_##S(TYPE value) threadgroup& { STATEMENT; return value; } \
  METAL_FUNC TYPE __put_##S(TYPE value) __generic& { STATEMENT; return value; }

#define __METAL_READABLE(TYPE, S, ALIAS)        \
  __declspec(property(get = __get_##S)) TYPE S; \
  __declspec(property(get = __get_##S)) TYPE ALIAS;
#define __METAL_WRITABLE(TYPE, S, ALIAS)                         \
  __declspec(property(get = __get_##S, put = __put_##S)) TYPE S; \
  __declspec(property(get = __get_##S, put = __put_##S)) TYPE ALIAS;

// How a vector takes components out of what it holds, and puts them in; packed vectors redefine the
// three.
#define __METAL_LOAD(S) T(__v.S)
#define __METAL_PICK(TYPE, S, ...) \
  TYPE(__metal_native(), __builtin_shufflevector(__v, __v, __VA_ARGS__))
#define __METAL_STORE(S, VALUE) __v.S = VALUE

#define __METAL_COMPONENT(S, ALIAS)             \
  __METAL_GETTER(T, S, __METAL_LOAD(S))         \
  __METAL_SETTER(T, S, __METAL_STORE(S, value)) \
  __METAL_WRITABLE(T, S, ALIAS)
#define __METAL_DISTINCT(TYPE, S, ALIAS, ...)                 \
  __METAL_GETTER(TYPE, S, __METAL_PICK(TYPE, S, __VA_ARGS__)) \
  __METAL_SETTER(TYPE, S, __METAL_STORE(S, value.__v))        \
  __METAL_WRITABLE(TYPE, S, ALIAS)
#define __METAL_REPEATED(TYPE, S, ALIAS, ...)                 \
  __METAL_GETTER(TYPE, S, __METAL_PICK(TYPE, S, __VA_ARGS__)) \
  __METAL_READABLE(TYPE, S, ALIAS)

// Wn lists swizzles of n different components, which can be assigned to; Rn those that repeat one.
#define __METAL_W2(S, ...) __METAL_DISTINCT(__vec2, S, __VA_ARGS__)
#define __METAL_W3(S, ...) __METAL_DISTINCT(__vec3, S, __VA_ARGS__)
#define __METAL_W4(S, ...) __METAL_DISTINCT(__vec4, S, __VA_ARGS__)
#define __METAL_R2(S, ...) __METAL_REPEATED(__vec2, S, __VA_ARGS__)
#define __METAL_R3(S, ...) __METAL_REPEATED(__vec3, S, __VA_ARGS__)
#define __METAL_R4(S, ...) __METAL_REPEATED(__vec4, S, __VA_ARGS__)
