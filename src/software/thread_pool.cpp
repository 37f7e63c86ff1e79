// Workers sleep on one condition; a loop hands out chunks by an atomic counter.
#include "software/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace metalgen {
namespace {

// Chunks for each thread: enough to even out threadgroups of unequal cost.
constexpr std::uint64_t kChunksPerThread = 16;

// Counts the forks between this process and the first one.
std::atomic<std::uint64_t> fork_generation{0};

void count_forks() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { ++fork_generation; }); });
}

// One loop that is being shared out.
struct Loop {
  const RangeBody& body;
  const std::uint64_t end;
  const std::uint64_t chunk;
  std::atomic<std::uint64_t> next;
  unsigned helpers = 0;  // workers inside, guarded by the crew's mutex

  bool exhausted() const { return next.load(std::memory_order_relaxed) >= end; }

  void work() {
    while (!exhausted()) {
      const std::uint64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= end) return;
      body(begin, std::min(end, begin + chunk));
    }
  }
};

}  // namespace

// The workers of one process.
class ThreadPool::Crew {
 public:
  explicit Crew(std::uint64_t generation) : generation(generation) {}

  ~Crew() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void share(Loop& loop, unsigned helpers) {
    {
      const std::lock_guard lock(mutex_);
      hire(helpers);
      loops_.push_back(&loop);
    }
    wake_two();
    loop.work();
    std::unique_lock lock(mutex_);
    std::erase(loops_, &loop);
    left_.wait(lock, [&] { return loop.helpers == 0; });
  }

  const std::uint64_t generation;

 private:
  void hire(unsigned count) {
    try {
      while (workers_.size() < count) workers_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those there are, at least the caller, do the work.
    }
  }

  // Whoever joins a loop wakes two more: all are awake soon, at little cost to each, and a short
  // loop is over before many were disturbed.
  void wake_two() {
    wake_.notify_one();
    wake_.notify_one();
  }

  Loop* open_loop() const {
    const auto open = std::find_if(loops_.begin(), loops_.end(),
                                   [](const Loop* loop) { return !loop->exhausted(); });
    return open == loops_.end() ? nullptr : *open;
  }

  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      Loop* loop = nullptr;
      wake_.wait(lock, [&] { return closing_ || (loop = open_loop()) != nullptr; });
      if (closing_) return;
      ++loop->helpers;
      lock.unlock();
      wake_two();
      loop->work();
      lock.lock();
      if (--loop->helpers == 0) left_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;  // a loop has been opened
  std::condition_variable left_;  // a worker has left a loop
  std::vector<Loop*> loops_;
  std::vector<std::thread> workers_;
  bool closing_ = false;
};

ThreadPool::ThreadPool(unsigned threads)
    : threads_(std::max(1u, threads)), crew_(new Crew(fork_generation)) {
  count_forks();
}

ThreadPool::~ThreadPool() {
  // Joining threads that a fork left behind would wait for ever.
  if (Crew* crew = crew_; crew->generation == fork_generation) delete crew;
}

ThreadPool::Crew& ThreadPool::crew() {
  Crew* current = crew_;
  const std::uint64_t generation = fork_generation;
  if (current->generation == generation) return *current;
  auto fresh = std::make_unique<Crew>(generation);
  // The inherited crew is left alone: its mutex may have been held when the process forked.
  if (crew_.compare_exchange_strong(current, fresh.get())) return *fresh.release();
  return *current;
}

void ThreadPool::run(std::uint64_t begin, std::uint64_t end, unsigned spared,
                     const RangeBody& body) {
  const std::uint64_t count = end - begin;
  const unsigned threads = std::max(threads_, spared + 1) - spared;
  if (threads == 1 || count < 2) return body(begin, end);
  const std::uint64_t chunk = std::max<std::uint64_t>(1, count / (threads * kChunksPerThread));
  Loop loop{body, end, chunk, begin};
  crew().share(loop, static_cast<unsigned>(std::min<std::uint64_t>(threads, count)) - 1);
}

}  // namespace metalgen
