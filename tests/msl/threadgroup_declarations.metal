// Every way to write the declaration of a threadgroup variable, and of pointers that are none.
#include <metal_stdlib>
using namespace metal;
#define SHARED threadgroup

struct P {
  float a;
};

template <typename T>
struct Holder {
  typedef T value_type;
  T v;
  void use(uint i) {
    threadgroup T inner[4];
    inner[i] = v;
    v = inner[0];
  }
};

template <typename T>
void f(uint i) {
  threadgroup typename T::value_type x[4];
  x[i] = 1;
  threadgroup T y;
  y.v = x[0];
}

kernel void k(device float* out, threadgroup float* dynamic [[threadgroup(0)]],
              uint i [[thread_index_in_threadgroup]]) {
  threadgroup atomic_int count;
  threadgroup metal::array<float, 4> arr;
  threadgroup float4x4 m;
  threadgroup struct P p;
  threadgroup vec<float, 4> vs[2], *vp = vs;
  alignas(16) threadgroup float s1[4];
  threadgroup alignas(32) float s2[4];
  static threadgroup float s3[4];
  volatile threadgroup float s4[2];
  __attribute__((aligned(16))) threadgroup float s5[4];
  threadgroup float s6[4] __attribute__((aligned(16)));
  SHARED uint8_t raw[1024];
  float threadgroup s7[3];
  threadgroup const float* cp = s1;
  threadgroup float *pa = s1, *pb = s2;
  threadgroup decltype(out[0] + 1) s8;
  threadgroup unsigned int s9[2];
  threadgroup unsigned s10;
  threadgroup float s11[8 * 2][8] [[maybe_unused]];
  threadgroup half (*tile)[32] = reinterpret_cast<threadgroup half (*)[32]>(raw);
  auto fp = (threadgroup float*)raw;
  threadgroup float& ref = s1[2];
  for (threadgroup float* q = s1; q < s1 + 4; ++q) *q = 1;
  auto lambda = [&](threadgroup float* z, uint j) {
    threadgroup float s12[2];
    s12[j] = z[j];
    return s12[0];
  };
  atomic_store_explicit(&count, 1, memory_order_relaxed);
  arr[0] = 1;
  m[0] = float4(1);
  p.a = 2;
  vs[0] = 3;
  s5[0] = s6[0] = s7[0] = s8 = 1;
  s9[0] = s10 = 3;
  s11[1][2] = 3;
  tile[0][1] = 3;
  fp[1] = 3;
  ref = 4;
  pa[0] = pb[1];
  s3[0] = 1;
  s4[0] = 2;
  dynamic[i] = vp[0].x;
  f<Holder<float>>(i);
  Holder<int> h;
  h.use(i);
  out[i] = lambda(s1, 0) + arr[0] + m[0][1] + p.a + cp[0] + s5[0] + s6[0] + s7[0] + s8 + s9[0] + s10 +
           s11[1][2] + tile[0][1] + fp[1] + s3[0] + s4[0] + h.v;
}
