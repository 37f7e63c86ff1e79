// asin, acos, atan, atan2.

#include "lanes.h"

namespace metalgen {
namespace {

constexpr float kPi = 0x1.921fb6p1f;
constexpr float kPiLow = -0x1.777a5cp-24f;  // π - kPi

// asin x for |x| <= 1/2: minimax of (asin x - x) / x³.
template <class T>
T asin_small(T x) {
  return odd(x, polynomial(T(x * x), 0x1.55554cp-3f, 0x1.33387cp-4f, 0x1.6caed2p-5f, 0x1.04919ap-5f,
                           0x1.d92018p-7f, 0x1.335598p-5f));
}

// sqrt((1 - a) / 2), for which asin a = π/2 - 2 asin of it; the difference is exact for a >= 1/2.
template <class T>
T half_angle(T a) {
  return sqrt(T((1.0f - a) * 0.5f));
}

template <class T>
T asin(T x) {
  const T a = abs(x);
  const auto large = a > 0.5f;
  const T part = asin_small(select(large, half_angle(a), a));
  return copy_sign(select(large, T((kPi / 2 - (part + part)) + kPiLow / 2), part), x);
}

template <class T>
T acos(T x) {
  const T a = abs(x);
  const auto large = a > 0.5f;
  const T part = asin_small(select(large, half_angle(a), x));
  const T twice = part + part;
  const T outer = select(x < 0, T(kPi - (twice - kPiLow)), twice);
  return select(large, outer, T(kPi / 2 - (part - kPiLow / 2)));
}

// atan(numerator / denominator) for 0 <= numerator <= denominator, in [0, π/4]: above tan(π/8) as
// π/4 + atan((n - d) / (n + d)).
template <class T>
T atan_octant(T numerator, T denominator) {
  const auto steep = numerator > denominator * 0x1.a8279ap-2f;
  const T top = select(steep, T(numerator - denominator), numerator);
  const T bottom = select(steep, T(numerator + denominator), denominator);
  const T t = top / bottom;
  const T tail = polynomial(T(t * t), -0x1.55554ap-2f, 0x1.999188p-3f, -0x1.23b3f8p-3f,
                            0x1.b1d9fp-4f, -0x1.f18cap-5f);
  const T angle = odd(t, tail);
  return select(steep, T(kPi / 4 + (angle + kPiLow / 4)), angle);
}

template <class T>
T atan(T x) {
  const T a = abs(x);
  const auto beyond = a > 1.0f;
  const T one = T(1.0f);
  // Infinity would meet itself in atan_octant; beyond 2¹⁰⁰ the answer is π/2 anyway. NaN passes.
  const T bounded = select(a > 0x1p100f, T(0x1p100f), a);
  const T angle = atan_octant(select(beyond, one, bounded), select(beyond, bounded, one));
  return copy_sign(select(beyond, T(kPi / 2 - (angle - kPiLow / 2)), angle), x);
}

template <class T>
T atan2(T y, T x) {
  // Scaled so that sums neither overflow nor lose denormals.
  const T larger = __builtin_elementwise_maxnum(abs(x), abs(y));
  const T factor =
      select(larger > 0x1p100f, T(0x1p-30f), select(larger < 0x1p-60f, T(0x1p60f), T(1)));
  const T ax = abs(x) * factor, ay = abs(y) * factor;
  const auto steep = ay > ax;
  T numerator = select(steep, ax, ay);
  T denominator = select(steep, ay, ax);
  numerator = select(numerator == kInfinity, T(1), numerator);  // both infinite: 45 degrees
  denominator =
      select(denominator == kInfinity, select(numerator == 1.0f, T(1), denominator), denominator);
  denominator = select(denominator == 0, T(1), denominator);  // both zero
  T angle = atan_octant(numerator, denominator);
  angle = select(steep, T(kPi / 2 - (angle - kPiLow / 2)), angle);
  angle = select(bits(x) < 0, T(kPi - (angle - kPiLow)), angle);
  return select(x != x, x, select(y != y, y, copy_sign(angle, y)));
}

}  // namespace

extern "C" {
float asin_1(float x) { return asin(x); }
float32 asin_32(float32 x) { return asin(x); }
float acos_1(float x) { return acos(x); }
float32 acos_32(float32 x) { return acos(x); }
float atan_1(float x) { return atan(x); }
float32 atan_32(float32 x) { return atan(x); }
float atan2_1(float y, float x) { return atan2(y, x); }
float32 atan2_32(float32 y, float32 x) { return atan2(y, x); }
}

}  // namespace metalgen
