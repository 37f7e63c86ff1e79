// Objects in every address space: member functions, copies, constructors, references.
#include <metal_stdlib>
using namespace metal;

struct Gain {
  float factor;
  METAL_FUNC float twice() const { return 2 * factor; }
};

struct Params {
  int count;
  float offsets[2];
  Gain gain;
  float sum() const {
    float total = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) total += offsets[i];
    return total + gain.twice();
  }
  float operator[](int i) const { return offsets[i]; }
  template <typename T>
  T as() const {
    return T(count);
  }
};

struct Window {
  float values[4];
  thread float& at(int i) { return values[i]; }
  void add(float x) { values[0] += x; }
};

template <typename T>
struct complex {
  T re, im;
  constexpr complex(T re, T im) thread : re(re), im(im) {}
  constexpr complex(T re, T im) threadgroup : re(re), im(im) {}
  constexpr complex(T re) thread : re(re), im(0) {}
  constexpr complex(T re) device : re(re), im(0) {}
  complex() thread = default;
  complex() threadgroup = default;
};

template <typename T>
complex<T> operator*(complex<T> a, complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

float larger(const thread float& a, thread const float& b) { return a > b ? a : b; }
float which(device const float*) { return 1; }
float which(threadgroup const float*) { return 2; }
float which(constant float*) { return 3; }
float which(thread const float*) { return 4; }

struct Tables {
  static constant constexpr float primes[4] = {2, 3, 5, 7};
  static constexpr constant int size = 4;
};
constant float powers[] = {1, 2, 4, 8};

kernel void spaces(device float* y      [[buffer(0)]],
                   constant Params& p   [[buffer(1)]],
                   device Window* w     [[buffer(2)]],
                   constant float* table [[buffer(3)]],
                   uint i               [[thread_position_in_grid]]) {
  threadgroup Window shared;
  threadgroup complex<float> z;
  constexpr constant float local_table[3] = {10, 20, 30};
  Params copy = p;
  Window mine = w[i];
  mine.at(2) = 5;
  mine.add(1);
  w[i].add(3);
  shared.values[0] = 1;
  shared.add(6);
  z = complex<float>(1, 2) * complex<float>(3);
  float local = 7;
  int global = 2;
  y[0] = p.sum() + copy.sum();
  y[1] = p[1] + p.as<float>() + copy.count;
  y[2] = mine.values[0] + mine.values[2];
  y[3] = w[i].values[0];
  y[4] = shared.values[0];
  y[5] = z.re + z.im;
  y[6] = larger(1.5h, local) + global;
  y[7] = which(y) + 10 * which(shared.values) + 100 * which(table) + 1000 * which(&local);
  y[8] = Tables::primes[i + 2] + Tables::size + powers[i + 3] + local_table[i + 1];
  auto add = [&](float x) { return x + local + y[8]; };
  y[9] = add(1);
}
