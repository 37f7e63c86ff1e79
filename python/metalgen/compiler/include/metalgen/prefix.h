// What Metal's language has before any header: keywords, scalar types, macros. Force-included.
#pragma once

#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION __cl_clang_function_pointers : enable
#pragma OPENCL EXTENSION __cl_clang_bitfields : enable

// clang declares these names as _Atomic types in every OpenCL translation unit; Metal's are structs
// of <metal_atomic>. Messages are shown without the suffix.
#define atomic_bool atomic_bool__metalgen_name
#define atomic_int atomic_int__metalgen_name
#define atomic_uint atomic_uint__metalgen_name
#define atomic_long atomic_long__metalgen_name
#define atomic_ulong atomic_ulong__metalgen_name
#define atomic_float atomic_float__metalgen_name
#define atomic_flag atomic_flag__metalgen_name
#define atomic_double atomic_double__metalgen_name
#define atomic_size_t atomic_size_t__metalgen_name
#define atomic_intptr_t atomic_intptr_t__metalgen_name
#define atomic_uintptr_t atomic_uintptr_t__metalgen_name
#define atomic_ptrdiff_t atomic_ptrdiff_t__metalgen_name

#define thread __private
#define device __global
#define constant __constant
#define threadgroup __local
#define threadgroup_imageblock __local

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef __bf16 bfloat;

typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef long intptr_t;
typedef unsigned long uintptr_t;

#define __METAL__ 1
#define __METAL_MACOS__ 1
#ifndef __METAL_VERSION__
#define __METAL_VERSION__ 320
#endif
#define __AIR64__ 1
#define __HAVE_BFLOAT__ 1
#define __HAVE_SIMDGROUP_MATRIX__ 1
#define __HAVE_SIMDGROUP_REDUCTION__ 1
#define __HAVE_NATIVE_INT64__ 1

// Second argument of the __metal_* functions: whether the caller accepts the fast form.
#define __METAL_PRECISE_MATH__ 0
#define __METAL_FAST_MATH__ 1
#ifndef __METAL_MAYBE_FAST_MATH__
#if defined(__FAST_MATH__) || defined(__FAST_RELAXED_MATH__)
#define __METAL_MAYBE_FAST_MATH__ 1
#else
#define __METAL_MAYBE_FAST_MATH__ 0
#endif
#endif

#define METAL_FUNC inline __attribute__((always_inline))
#define METAL_CONST __attribute__((const))
#define METAL_PURE __attribute__((pure))
