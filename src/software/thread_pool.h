// Persistent worker threads that share out the indices of one loop, the caller working along.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace metalgen {

// Runs indices [begin, end) on the calling thread.
using RangeBody = std::function<void(std::uint64_t begin, std::uint64_t end)>;

// Loops may be started from several threads at once. In a forked child, where no worker has
// survived, the first loop starts new ones.
class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned threads() const { return threads_; }

  // Calls `body` for every index of [begin, end) in chunks and returns when all have finished.
  // `spared` of the threads, but not the caller's, are left idle. `body` must not throw.
  void run(std::uint64_t begin, std::uint64_t end, unsigned spared,
           const RangeBody& body);

 private:
  class Crew;

  Crew& crew();

  const unsigned threads_;
  std::atomic<Crew*> crew_;
};

}  // namespace metalgen
