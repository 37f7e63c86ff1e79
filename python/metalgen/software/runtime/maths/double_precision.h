// Logarithm and exponential in double precision, for functions whose single-precision result needs
// the guard bits.

#pragma once

#include "lanes.h"

namespace metalgen {

// ln x for normal positive finite x, relative error below 2⁻⁴⁹: 2 artanh s, s = (m - 1) / (m + 1).
template <class D>
D log_normal(D x) {
  const Long<D> pattern = __builtin_bit_cast(Long<D>, x);
  const Long<D> exponent = (pattern - __builtin_bit_cast(long, 0x1.6a09e667f3bcdp-1)) >> 52;
  const D m = __builtin_bit_cast(D, Long<D>(pattern - (exponent << 52)));
  const D s = (m - 1.0) / (m + 1.0);
  const D z = s * s;
  // Minimax on |s| <= 0.1716 of (2 artanh s - 2s) / s³.
  const D p = polynomial(z, 0x1.5555555553953p-1, 0x1.999999a298525p-2, 0x1.249241745e68fp-2,
                         0x1.c7227a1147b5dp-3, 0x1.732be1ce6f867p-3, 0x1.587ad65d42c9dp-3);
  return to_double(exponent) * 0x1.62e42fefa39efp-1 + (s * z * p + 2.0 * s);
}

// 2^x for |x| <= 1000, relative error below 2⁻⁴⁵; NaN gives NaN.
template <class D>
D exp2_bounded(D x) {
  const Nearest<D> n = nearest_product(x, 1.0);
  const D r = x - n.value;
  const D p = polynomial(r, 0x1.62e42fefa37d0p-1, 0x1.ebfbdff81bda3p-3, 0x1.c6b08d70c8c59p-5,
                         0x1.3b2ab7241df70p-7, 0x1.5d87fd9323c4fp-10, 0x1.430897dab8149p-13,
                         0x1.ffce307dfbd9ap-17, 0x1.63e6b4083df90p-20, 0x1.b3ddd57c6c71bp-24);
  const Long<D> factor = (__builtin_bit_cast(Long<D>, n.shifted) + 1023)
                         << 52;  // 2^n: the low bits of shifted are n
  return (r * p + 1.0) * __builtin_bit_cast(D, factor);
}

template <class D>
D sqrt_double(D x) {
  return __builtin_elementwise_sqrt(x);
}

}  // namespace metalgen
