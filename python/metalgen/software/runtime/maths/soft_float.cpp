// What LLVM calls to convert 16-bit floats on processors that have no instruction for it.

namespace {

template <class To, class From>
To cast(From x) {
  return __builtin_bit_cast(To, x);
}

// The pattern of x in a format of 16 bits, rounded to nearest, ties to even.
template <int kExponentBits, int kFractionBits>
unsigned short rounded_pattern(double x) {
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr long kInfinity = ((1l << kExponentBits) - 1) << kFractionBits;
  constexpr long kImplicitBit = 1l << 52;
  const long pattern = cast<long>(x);
  const long magnitude = pattern & ~(1l << 63);
  const long sign = pattern < 0 ? 1l << 15 : 0;
  if (magnitude > 0x7ffl << 52)
    return static_cast<unsigned short>(sign | kInfinity | 1l << (kFractionBits - 1));
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  // Below the smallest normal number all numbers have its last place.
  const int bounded = exponent < 1 - kBias ? 1 - kBias : exponent;
  const int shift = 52 - kFractionBits + bounded - exponent;
  if (shift > 54) return static_cast<unsigned short>(sign);
  const long significand = (magnitude & (kImplicitBit - 1)) | kImplicitBit;
  const long half = 1l << (shift - 1);
  const long rounded = (significand + half - 1 + (significand >> shift & 1)) >> shift;
  // The implicit bit, or a carry into it, adds one to the exponent.
  const long result = (static_cast<long>(bounded + kBias - 1) << kFractionBits) + rounded;
  return static_cast<unsigned short>(sign | (result < kInfinity ? result : kInfinity));
}

}  // namespace

extern "C" {
_Float16 __truncdfhf2(double x) { return cast<_Float16>(rounded_pattern<5, 10>(x)); }
_Float16 __truncsfhf2(float x) { return cast<_Float16>(rounded_pattern<5, 10>(x)); }
__bf16 __truncdfbf2(double x) { return cast<__bf16>(rounded_pattern<8, 7>(x)); }
__bf16 __truncsfbf2(float x) { return cast<__bf16>(rounded_pattern<8, 7>(x)); }

float __extendhfsf2(_Float16 x) {
  const unsigned pattern = cast<unsigned short>(x);
  const unsigned magnitude = (pattern & 0x7fff) << 13;
  const float finite =
      cast<float>(magnitude) * 0x1p112f;  // the difference of the exponents' biases
  const unsigned result =
      magnitude >= 0x1fu << 23 ? magnitude | 0xffu << 23 : cast<unsigned>(finite);
  return cast<float>(result | (pattern & 0x8000) << 16);
}
}
