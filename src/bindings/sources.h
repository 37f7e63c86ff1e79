// Turns the arguments of one launch, as Python hands them over, into a dispatch.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <span>

#include "device.h"

namespace metalgen {

// A fixed number of items without a heap allocation.
template <typename Item>
struct Few {
  std::array<Item, kMaxBuffers> items;
  std::size_t count = 0;

  void add(Item item) { items[count++] = item; }
  std::span<const Item> span() const { return {items.data(), count}; }
};

// What [[buffer(index)]] gets: an address or buffer handle (int), a handle with a byte offset
// (tuple), or bytes, which must outlive the binding.
Binding binding_of(std::uint32_t index, PyObject* source);

// Dynamic threadgroup memory from pairs (index, bytes).
Few<ThreadgroupMemory> memory_of(const pybind11::tuple& pairs);

// Dispatches with sources[i] at [[buffer(i)]]; None leaves it unbound.
void dispatch_sources(Pipeline& pipeline, const pybind11::tuple& sources,
                      const Geometry& geometry, const pybind11::tuple& threadgroup_memory);

}  // namespace metalgen
