// Complex numbers as a class with operators, also reached through a cast pointer.
#include <metal_stdlib>
using namespace metal;

struct complex64_t {
  float real;
  float imag;
  constexpr complex64_t(float r, float i) : real(r), imag(i) {
  }
  template <typename T, typename = enable_if_t<is_convertible_v<T, float>>> constexpr
      complex64_t(T x) thread : real(x), imag(0) {
  }
  complex64_t() = default;
};
constexpr complex64_t operator*(complex64_t a, complex64_t b) {
  return {a.real*b.real - a.imag*b.imag, a.real*b.imag + a.imag*b.real};
}
complex64_t operator+(complex64_t a, complex64_t b) {
  return complex64_t(a.real+b.real, a.imag+b.imag);
}
kernel void f(device float2* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  complex64_t c(x[i].x, x[i].y);
  c = c*c + complex64_t(1.0f);
  x[i] = float2(c.real, c.imag);
  device complex64_t* p = (device complex64_t*)x;
  p[i] = p[i] * complex64_t(2, 0);
}
