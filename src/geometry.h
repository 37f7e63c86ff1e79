// The shape of a dispatch: how many threads or threadgroups, in threadgroups of which size.
#pragma once

#include <array>
#include <cstdint>

namespace metalgen {

using Extent = std::array<std::uint32_t, 3>;  // x, y, z

// The threads of a dispatch; those of the last threadgroups along an axis may be fewer.
struct Geometry {
  Extent grid;        // threads in all
  Extent group_size;  // threads of a whole threadgroup
  Extent groups;      // threadgroups, the partial ones included

  // As many threads as asked for: threadgroups at the edges are cut (Metal's dispatchThreads).
  static Geometry of_threads(Extent threads, Extent group_size);

  // Whole threadgroups only (Metal's dispatchThreadgroups).
  static Geometry of_threadgroups(Extent groups, Extent group_size);

  bool empty() const;
  std::uint64_t group_count() const;

  // Threads of the threadgroup at `position`.
  Extent size_at(Extent position) const;
};

}  // namespace metalgen
