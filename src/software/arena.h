// Scratch memory of one worker: 64-byte aligned blocks that are all freed at once.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace metalgen {

inline constexpr std::size_t kCacheLine = 64;

class Arena {
 public:
  // `bytes` of uninitialised memory, valid until the next `reset`.
  std::byte* allocate(std::size_t bytes);

  // Frees every block; the memory itself is kept for the next round.
  void reset();

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  struct Chunk {
    std::unique_ptr<std::byte, Free> memory;
    std::size_t size;
  };

  static Chunk make_chunk(std::size_t size);
  std::byte* allocate_from_new_chunk(std::size_t bytes);

  std::vector<Chunk> chunks_;  // the last one is being filled
  std::size_t used_ = 0;       // bytes taken of the last chunk
};

}  // namespace metalgen
