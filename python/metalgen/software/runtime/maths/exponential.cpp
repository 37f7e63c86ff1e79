// exp, exp2, exp10: 2^n · p(r) with r reduced to half an octave, p minimax of relative error below
// 2⁻²⁸.

#include "exponential.h"

namespace metalgen {
namespace {

template <class T>
T exp2(T x) {
  x = clamp(x, -151.0f, 129.0f);
  const Nearest<T> n = nearest_product(x, 1.0f);
  const T r = x - n.value;
  const T p = polynomial(r, 0x1.62e43p-1f, 0x1.ebfbdcp-3f, 0x1.c6aee8p-5f, 0x1.3b2d4ep-7f,
                         0x1.5f3e6ap-10f, 0x1.41fba8p-13f);
  return scale(T(r * p + 1.0f), integer_part(n.shifted));
}

template <class T>
T exp10(T x) {
  x = clamp(x, -46.0f, 39.0f);
  const Nearest<T> n = nearest_product(x, 0x1.a934fp1f);  // log2 10
  T r = x - n.value * 0x1.344p-2f;                        // log10 2 in two parts, as in scaled_exp
  r = r - n.value * 0x1.3509f8p-18f;
  const T p = polynomial(r, 0x1.26bb1cp1f, 0x1.53524ap1f, 0x1.046f68p1f, 0x1.2bd9d6p0f,
                         0x1.158466p-1f, 0x1.a68bep-3f);
  return scale(T(r * p + 1.0f), integer_part(n.shifted));
}

}  // namespace

extern "C" {
float exp_1(float x) { return scaled_exp(x, 0); }
float32 exp_32(float32 x) { return scaled_exp(x, 0); }
float exp2_1(float x) { return exp2(x); }
float32 exp2_32(float32 x) { return exp2(x); }
float exp10_1(float x) { return exp10(x); }
float32 exp10_32(float32 x) { return exp10(x); }
}

}  // namespace metalgen
