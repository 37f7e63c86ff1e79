// Recursion of templates over an array reference, a constant in a namespace.
#include <metal_stdlib>
using namespace metal;

#ifndef N_READS
#define N_READS 4
#endif
#ifdef __METAL__
#define INLINE static inline __attribute__((always_inline))
#endif
namespace detail {
  constant constexpr int kWidth = N_READS;
  INLINE float sq(float x) {
    return x*x;
  }
  template <int n> struct unroller {
    static void run(thread float (&v)[kWidth]) {
      v[n-1] = sq(v[n-1]);
      unroller<n-1>::run(v);
    }
  };
  template <> struct unroller<0> {
    static void run(thread float (&)[kWidth]) {
    }
  };
}
kernel void f(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  float v[detail::kWidth];
  for (int k=0;k<detail::kWidth;++k) v[k] = x[i*N_READS+k];
  detail::unroller<detail::kWidth>::run(v);
  for (int k=0;k<N_READS;++k) x[i*N_READS+k] = v[k];
}
