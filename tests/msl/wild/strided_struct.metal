// A struct of sizes with packed and 64-bit members, traits in nested namespaces.
#include <metal_stdlib>
using namespace metal;

struct IdxParams {
  packed_uint3 shape;
  uint32_t ndim;
  int64_t strides[4];
};
template <typename T, typename I> struct Op {
  static T apply(T a, I b) {
    return a + T(b);
  }
};
namespace c10 {
  namespace metal {
    template <typename T> struct type_wrap {
      typedef T type;
    };
    template <> struct type_wrap<half> {
      typedef float type;
    };
    template <typename T> using opmath_t = typename type_wrap<T>::type;
  }
}
using namespace c10::metal;
template <typename T> kernel void idx(
    device T* out,
    constant IdxParams& p,
    device const T* in,
    constant long* off,
    uint3 t [[thread_position_in_grid]]) {
  const uint i = t.x;
  opmath_t<T> v = Op<T, long>::apply(in[i], p.strides[i % p.ndim]);
  out[i] = static_cast<T>(v + p.shape[1] + off[0]);
}
#define REG(T) template [[host_name("f_" #T)]] kernel void idx<T>(device T*, constant \
    IdxParams&, device const T*, constant long*, uint3);
REG(float);
REG(half);
REG(int);
REG(bfloat);
