// Kernels written by hand against the ABI of translated ones: dispatch without a translator.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>

#include "software/threadgroup.h"

using metalgen::Threadgroup;

namespace {

// Calls `body(x, y, z)` with the position in the grid of every thread of the threadgroup.
template <typename Body>
void for_each_thread(const Threadgroup& group, Body body) {
  for (std::uint32_t z = 0; z < group.size[2]; ++z)
    for (std::uint32_t y = 0; y < group.size[1]; ++y)
      for (std::uint32_t x = 0; x < group.size[0]; ++x)
        body(group.position[0] * group.full_size[0] + x, group.position[1] * group.full_size[1] + y,
             group.position[2] * group.full_size[2] + z);
}

std::uint64_t group_index(const Threadgroup& group) {
  return group.position[0] +
         std::uint64_t{group.groups[0]} *
             (group.position[1] + std::uint64_t{group.groups[1]} * group.position[2]);
}

std::uint64_t fnv(const void* data, std::size_t bytes) {
  std::uint64_t hash = 14695981039346656037u;
  for (std::size_t i = 0; i < bytes; ++i)
    hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  return hash;
}

}  // namespace

// out[z][y][x] += 1 for every thread.
extern "C" void count_threads(Threadgroup* group) {
  auto* out = reinterpret_cast<std::uint32_t*>(group->buffers[0]);
  for_each_thread(*group, [&](std::uint64_t x, std::uint64_t y, std::uint64_t z) {
    const std::uint64_t index = x + group->grid[0] * (y + group->grid[1] * z);
    std::atomic_ref(out[index]).fetch_add(1);
  });
}

// out[group] = position, size, full size, grid and groups of the threadgroup: 15 numbers.
extern "C" void record_threadgroup(Threadgroup* group) {
  std::memcpy(group->buffers[0] + group_index(*group) * 60, group->position, 60);
}

// y[i] = a * x[i] + y[i]; buffers x, y and a.
extern "C" void saxpy(Threadgroup* group) {
  const auto* x = reinterpret_cast<const float*>(group->buffers[0]);
  auto* y = reinterpret_cast<float*>(group->buffers[1]);
  const float a = *reinterpret_cast<const float*>(group->buffers[2]);
  for_each_thread(*group, [&](std::uint32_t i, std::uint32_t, std::uint32_t) { y[i] += a * x[i]; });
}

// out[group] = 1 if memory given to this threadgroup stayed its own, is aligned and separate.
extern "C" void use_all_memory(Threadgroup* group) {
  constexpr std::size_t kStatic = 1000, kDynamic = 496, kFrame = 70000;
  std::byte* parts[] = {group->threadgroup_memory, group->threadgroup_buffers[0],
                        group->threadgroup_buffers[3], group->allocate(group, kFrame),
                        group->allocate(group, kFrame), group->allocate(group, 1)};
  const std::size_t sizes[] = {kStatic, kDynamic, kDynamic, kFrame, kFrame, 1};
  std::uint32_t good = group->threadgroup_buffers[1] == nullptr;
  for (int i = 0; i < 6; ++i) {
    good &= reinterpret_cast<std::uintptr_t>(parts[i]) % 64 == 0;
    std::memset(parts[i], static_cast<int>(group_index(*group) * 7 + i), sizes[i]);
  }
  for (int i = 0; i < 6; ++i)
    for (std::size_t at = 0; at < sizes[i]; ++at)
      good &= parts[i][at] == static_cast<std::byte>(group_index(*group) * 7 + i);
  reinterpret_cast<std::uint32_t*>(group->buffers[0])[group_index(*group)] = good;
}

// The first threadgroup takes 5 ms; each other one counts itself in buffer 0 and waits until as many
// have come as buffer 1 says. out[1] counts those who waited in vain for minutes.
extern "C" void meet(Threadgroup* group) {
  using namespace std::chrono_literals;
  auto* out = reinterpret_cast<std::uint32_t*>(group->buffers[0]);
  std::uint32_t expected;
  std::memcpy(&expected, group->buffers[1], sizeof expected);
  if (expected == 0) return;
  if (group_index(*group) == 0) return std::this_thread::sleep_for(5ms);
  const std::atomic_ref came(out[0]);
  came.fetch_add(1);
  const auto deadline = std::chrono::steady_clock::now() + 4min;
  while (came.load() < expected && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(100us);
  if (came.load() < expected) std::atomic_ref(out[1]).fetch_add(1);
}

// out[0] = 1 + the number of buffers bound, out[1] = a hash of what buffer 1 holds (64 bytes),
// out[2] = the address bits of buffer 1 below 64.
extern "C" void look_at_buffers(Threadgroup* group) {
  auto* out = reinterpret_cast<std::uint64_t*>(group->buffers[0]);
  out[0] = 1;
  for (int i = 0; i < 31; ++i) out[0] += group->buffers[i] != nullptr;
  if (!group->buffers[1]) return;
  out[1] = fnv(group->buffers[1], 64);
  out[2] = reinterpret_cast<std::uintptr_t>(group->buffers[1]) % 64;
}
