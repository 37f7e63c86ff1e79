// A product of matrices in tiles of 16 by 16: asynchronous copies into threadgroup memory, with
// zeros behind the edges, and SIMD-group matrices held as their 64 nominal elements, as ports of
// flash attention declare both for themselves.
#include <metal_stdlib>

struct _simdgroup_event_t;

thread _simdgroup_event_t* __metal_simdgroup_async_copy_1d(
    ulong, ulong, threadgroup void*, const device void*, ulong)
    __asm("air.simdgroup_async_copy_1d.p3i8.p1i8");
thread _simdgroup_event_t* __metal_simdgroup_async_copy_1d(
    ulong, ulong, device void*, const threadgroup void*, ulong)
    __asm("air.simdgroup_async_copy_1d.p1i8.p3i8");
thread _simdgroup_event_t* __metal_simdgroup_async_copy_2d(
    ulong, ulong, threadgroup void*, ulong, ulong, ulong2,
    const device void*, ulong, ulong, ulong2, long2, int)
    __asm("air.simdgroup_async_copy_2d.p3i8.p1i8");
thread _simdgroup_event_t* __metal_simdgroup_async_copy_2d(
    ulong, ulong, device void*, ulong, ulong, ulong2,
    const threadgroup void*, ulong, ulong, ulong2, long2, int)
    __asm("air.simdgroup_async_copy_2d.p1i8.p3i8");
void __metal_wait_simdgroup_events(int, thread _simdgroup_event_t**)
    __asm("air.wait_simdgroup_events");

#pragma METAL internals : enable
namespace metal {
enum class simdgroup_async_copy_clamp_mode { clamp_to_zero = 0, clamp_to_edge = 1 };

struct simdgroup_event {
  METAL_FUNC simdgroup_event() thread {}

  template <typename T>
  METAL_FUNC void copy_row(threadgroup T* to, const device T* from, ulong count) thread {
    event = __metal_simdgroup_async_copy_1d(
        sizeof(T), alignof(T), reinterpret_cast<threadgroup void*>(to),
        reinterpret_cast<const device void*>(from), count);
  }
  template <typename T>
  METAL_FUNC void copy_row(device T* to, const threadgroup T* from, ulong count) thread {
    event = __metal_simdgroup_async_copy_1d(
        sizeof(T), alignof(T), reinterpret_cast<device void*>(to),
        reinterpret_cast<const threadgroup void*>(from), count);
  }
  template <typename T>
  METAL_FUNC void copy_tile(
      threadgroup T* to, ushort to_row, ushort2 to_tile,
      const device T* from, uint from_row, ushort2 from_tile,
      simdgroup_async_copy_clamp_mode mode =
          simdgroup_async_copy_clamp_mode::clamp_to_zero) thread {
    event = __metal_simdgroup_async_copy_2d(
        sizeof(T), alignof(T), reinterpret_cast<threadgroup void*>(to), to_row, 1, ulong2(to_tile),
        reinterpret_cast<const device void*>(from), from_row, 1, ulong2(from_tile), long2(0),
        static_cast<int>(mode));
  }
  template <typename T>
  METAL_FUNC void copy_tile(
      device T* to, uint to_row, ushort2 to_tile,
      const threadgroup T* from, ushort from_row, ushort2 from_tile) thread {
    event = __metal_simdgroup_async_copy_2d(
        sizeof(T), alignof(T), reinterpret_cast<device void*>(to), to_row, 1, ulong2(to_tile),
        reinterpret_cast<const threadgroup void*>(from), from_row, 1, ulong2(from_tile), long2(0),
        0);
  }
  METAL_FUNC static void wait(int count, thread simdgroup_event* events) {
    __metal_wait_simdgroup_events(count, reinterpret_cast<thread _simdgroup_event_t**>(events));
  }

 private:
  thread _simdgroup_event_t* event;
};

template <typename T>
struct simdgroup_matrix_storage {
  typedef vec<T, 64> storage_type;
  storage_type t;

  METAL_FUNC thread vec<T, 2>* thread_elements() thread {
    return reinterpret_cast<thread vec<T, 2>*>(&t);
  }
  METAL_FUNC simdgroup_matrix_storage() thread = default;
  METAL_FUNC simdgroup_matrix_storage(vec<T, 2> elements) thread {
    *(this->thread_elements()) = elements;
  }

  template <typename U>
  METAL_FUNC void load(const threadgroup U* from, ushort row, ushort2 origin) {
    auto place = from + origin.y * row + origin.x;
    *(thread_elements()) = vec<T, 2>(*(const threadgroup vec<U, 2>*)place);
  }
  template <typename U>
  METAL_FUNC void store(threadgroup U* to, ushort row, ushort2 origin) {
    *(threadgroup vec<U, 2>*)(to + origin.y * row + origin.x) = vec<U, 2>(*(thread_elements()));
  }
  template <typename U, typename V>
  METAL_FUNC void multiply(
      simdgroup_matrix_storage<U> a, simdgroup_matrix_storage<V> b, bool accumulate = true) {
    if (!accumulate) *(thread_elements()) = vec<T, 2>(0);
    t = __metal_simdgroup_matrix_8x8_multiply_accumulate(
        a.t, b.t, t, typename simdgroup_matrix_storage<T>::storage_type());
  }
};
}  // namespace metal
#pragma METAL internals : disable

using namespace metal;

// Column and row of a lane's two elements.
METAL_FUNC static ushort2 morton_order(ushort lane) {
  const ushort quad = lane / 4;
  return ushort2((quad & 2) * 2 + lane % 2 * 2, (quad / 4) * 4 + (lane / 2) % 4);
}

constant uint M [[function_constant(0)]];
constant uint N [[function_constant(1)]];
constant uint K [[function_constant(2)]];

// C = A B, one threadgroup of 4 SIMD-groups per tile of 16 by 16.
template <typename T>
kernel void product(device T* A [[buffer(0)]], device T* B [[buffer(1)]], device T* C [[buffer(2)]],
                    threadgroup uchar* block [[threadgroup(0)]],
                    uint2 group [[threadgroup_position_in_grid]],
                    ushort simdgroup [[simdgroup_index_in_threadgroup]],
                    ushort lane [[thread_index_in_simdgroup]]) {
  auto a_tile = (threadgroup T*)block;
  auto b_tile = a_tile + 16 * 16;
  const ushort2 place = morton_order(lane) + ushort2(simdgroup % 2, simdgroup / 2) * 8;
  const ushort2 own = morton_order(lane);
  simdgroup_matrix_storage<float> sum(float2(0));
  const ushort rows = min(16u, M - group.y * 16), columns = min(16u, N - group.x * 16);
  for (uint k = 0; k < K; k += 16) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup == 0) {
      const ushort depth = min(16u, K - k);
      simdgroup_event events[2];
      auto a_from = A + group.y * 16 * K + k, b_from = B + k * N + group.x * 16;
      events[0].copy_tile(a_tile, 16, ushort2(16), a_from, K, ushort2(depth, rows));
      events[1].copy_tile(b_tile, 16, ushort2(16), b_from, N, ushort2(columns, depth));
      simdgroup_event::wait(2, events);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma clang loop unroll(full)
    for (ushort inner = 0; inner < 16; inner += 8) {
      simdgroup_matrix_storage<T> a, b;
      a.load(a_tile, 16, ushort2(own.x + inner, place.y));
      b.load(b_tile, 16, ushort2(place.x, own.y + inner));
      sum.multiply(a, b, true);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum.store(a_tile, 16, place);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    simdgroup_event event;
    const ushort2 tile(columns, rows);
    event.copy_tile(C + group.y * 16 * N + group.x * 16, N, tile, a_tile, 16, tile);
    simdgroup_event::wait(1, &event);
  }
}

template [[host_name("product_float")]] kernel void product<float>(
    device float*, device float*, device float*, threadgroup uchar*, uint2, ushort, ushort);
template [[host_name("product_half")]] kernel void product<half>(
    device half*, device half*, device half*, threadgroup uchar*, uint2, ushort, ushort);

// Rows back to front, and each row's last element again and again behind its end.
kernel void edges(device const short* x [[buffer(0)]], device short* y [[buffer(1)]],
                  constant uint& n [[buffer(2)]], uint group [[threadgroup_position_in_grid]],
                  uint groups [[threadgroups_per_grid]]) {
  threadgroup short row[40], wide[64];
  simdgroup_event event;
  event.copy_row(row, x + group * n, n);
  simdgroup_event::wait(1, &event);
  simdgroup_event back;
  back.copy_row(y + (groups - 1 - group) * 64, row, n);
  event.copy_tile(wide, 64, ushort2(64, 1), x + group * n, n, ushort2(n, 1),
                  simdgroup_async_copy_clamp_mode::clamp_to_edge);
  simdgroup_event::wait(1, &event);
  simdgroup_event::wait(1, &back);
  back.copy_row(y + (groups - 1 - group) * 64 + n, wide + n, 64 - n);
  simdgroup_event::wait(1, &back);
}
