// What Metal's language has before any header: keywords, scalar types, macros. Force-included.
#pragma once

#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION __cl_clang_function_pointers : enable

// clang declares these names as _Atomic types in every OpenCL translation unit; Metal's are structs
// of <metal_atomic>.
#define atomic_bool __metal_atomic_bool
#define atomic_int __metal_atomic_int
#define atomic_uint __metal_atomic_uint
#define atomic_long __metal_atomic_long
#define atomic_ulong __metal_atomic_ulong
#define atomic_float __metal_atomic_float
#define atomic_flag __metal_atomic_flag
#define atomic_double __metal_atomic_double
#define atomic_size_t __metal_atomic_size_t
#define atomic_intptr_t __metal_atomic_intptr_t
#define atomic_uintptr_t __metal_atomic_uintptr_t
#define atomic_ptrdiff_t __metal_atomic_ptrdiff_t

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
#if defined(__FAST_MATH__) || defined(__FAST_RELAXED_MATH__)
#define __METAL_MAYBE_FAST_MATH__ 1
#else
#define __METAL_MAYBE_FAST_MATH__ 0
#endif

#define METAL_FUNC inline __attribute__((always_inline))
#define METAL_CONST __attribute__((const))
#define METAL_PURE __attribute__((pure))
