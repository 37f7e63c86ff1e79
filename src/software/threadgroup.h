// What a translated kernel is given: one whole threadgroup to run. Generated code relies on this
// layout; python/metalgen/software/abi.py mirrors it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metalgen {

struct Threadgroup {
  std::byte* const* buffers;              // 31 pointers by [[buffer(i)]] index, null where unbound
  std::byte* const* threadgroup_buffers;  // 31 pointers by [[threadgroup(i)]] index
  std::byte* threadgroup_memory;          // static threadgroup variables, 64-byte aligned
  // Scratch for suspended strands, 64-byte aligned, freed when the threadgroup ends.
  std::byte* (*allocate)(Threadgroup*, std::uint64_t bytes);
  void* arena;                 // the worker's Arena, for `allocate`
  std::uint32_t position[3];   // threadgroup_position_in_grid
  std::uint32_t size[3];       // threads_per_threadgroup: smaller at the grid's edge
  std::uint32_t full_size[3];  // dispatch_threads_per_threadgroup: as asked for
  std::uint32_t grid[3];       // threads_per_grid
  std::uint32_t groups[3];     // threadgroups_per_grid
};

static_assert(sizeof(Threadgroup) == 104 && offsetof(Threadgroup, position) == 40);

}  // namespace metalgen
