// Bump allocation over chunks that grow until one chunk serves a whole threadgroup.
#include "software/arena.h"

#include <algorithm>
#include <new>
#include <numeric>

namespace metalgen {
namespace {

constexpr std::size_t kFirstChunk = 64 * 1024;
constexpr std::align_val_t kAlignment{kCacheLine};

std::size_t round_up(std::size_t bytes) {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

}  // namespace

void Arena::Free::operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }

Arena::Chunk Arena::make_chunk(std::size_t size) {
  auto* memory = static_cast<std::byte*>(::operator new(size, kAlignment));
  return {std::unique_ptr<std::byte, Free>(memory), size};
}

std::byte* Arena::allocate(std::size_t bytes) {
  bytes = round_up(bytes);
  if (chunks_.empty() || chunks_.back().size - used_ < bytes) return allocate_from_new_chunk(bytes);
  std::byte* block = chunks_.back().memory.get() + used_;
  used_ += bytes;
  return block;
}

std::byte* Arena::allocate_from_new_chunk(std::size_t bytes) {
  const std::size_t doubled = chunks_.empty() ? kFirstChunk : chunks_.back().size * 2;
  chunks_.push_back(make_chunk(std::max(doubled, bytes)));
  used_ = bytes;
  return chunks_.back().memory.get();
}

void Arena::reset() {
  used_ = 0;
  if (chunks_.size() < 2) return;
  // One chunk as large as all of them, so that the next threadgroup needs no other.
  const std::size_t total = std::accumulate(
      chunks_.begin(), chunks_.end(), std::size_t{0},
      [](std::size_t sum, const Chunk& chunk) { return sum + chunk.size; });
  chunks_.clear();
  chunks_.push_back(make_chunk(total));
}

}  // namespace metalgen
