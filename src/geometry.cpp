// Checks and derives the shape of a dispatch.
#include "geometry.h"

#include <algorithm>
#include <limits>
#include <string>

#include "errors.h"

namespace metalgen {
namespace {

constexpr std::uint64_t kMaxAxis = std::numeric_limits<std::uint32_t>::max();

void check_countable(const Extent& groups) {
  const std::uint64_t plane = std::uint64_t{groups[0]} * groups[1];
  if (groups[2] != 0 && plane > std::numeric_limits<std::uint64_t>::max() / groups[2])
    throw LaunchError("the grid has more than 2^64 threadgroups");
}

}  // namespace

Geometry Geometry::of_threads(Extent threads, Extent group_size) {
  Geometry geometry{threads, group_size, {}};
  for (int axis = 0; axis < 3; ++axis) {
    if (group_size[axis] == 0) throw LaunchError("a threadgroup needs at least one thread an axis");
    const bool partial = threads[axis] % group_size[axis] != 0;
    geometry.groups[axis] = threads[axis] / group_size[axis] + partial;
  }
  check_countable(geometry.groups);
  return geometry;
}

Geometry Geometry::of_threadgroups(Extent groups, Extent group_size) {
  Geometry geometry{{}, group_size, groups};
  for (int axis = 0; axis < 3; ++axis) {
    if (group_size[axis] == 0) throw LaunchError("a threadgroup needs at least one thread an axis");
    const std::uint64_t threads = std::uint64_t{groups[axis]} * group_size[axis];
    if (threads > kMaxAxis)
      throw LaunchError("the grid has " + std::to_string(threads) + " threads along axis " +
                        std::to_string(axis) + ", at most 2^32 - 1 can be counted");
    geometry.grid[axis] = static_cast<std::uint32_t>(threads);
  }
  check_countable(groups);
  return geometry;
}

bool Geometry::empty() const { return groups[0] == 0 || groups[1] == 0 || groups[2] == 0; }

std::uint64_t Geometry::group_count() const {
  return std::uint64_t{groups[0]} * groups[1] * groups[2];
}

Extent Geometry::size_at(Extent position) const {
  Extent size;
  for (int axis = 0; axis < 3; ++axis) {
    const std::uint32_t first = position[axis] * group_size[axis];
    size[axis] = std::min(group_size[axis], grid[axis] - first);
  }
  return size;
}

}  // namespace metalgen
