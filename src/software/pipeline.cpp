// Runs the threadgroups of one dispatch, on the calling thread while that is the faster way.
#include "software/pipeline.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "software/arena.h"
#include "software/threadgroup.h"

namespace metalgen {
namespace {

constexpr std::uint32_t kMaxTotalThreads = 1024;

// Waking workers and waiting for them costs about this much; shorter work stays with the caller.
constexpr double kSharingSeconds = 15e-6;

using Clock = std::chrono::steady_clock;
using Pointers = std::array<std::byte*, kMaxBuffers>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::size_t round_to_line(std::size_t bytes) {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

// The memory that one host thread lends to the threadgroups it runs, one after another.
class Scratch {
 public:
  std::byte* threadgroup_memory(std::size_t bytes) {
    if (bytes > size_) {
      shared_.reset();
      memory_ = shared_.allocate(bytes);
      size_ = bytes;
    }
    return memory_;
  }

  Arena frames;     // of the threadgroup that is running
  Arena constants;  // of the dispatch that this thread has started

 private:
  Arena shared_;
  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
};

Scratch& scratch() {
  thread_local Scratch scratch;
  return scratch;
}

// Called by generated code, which no exception can cross: without memory the process ends.
std::byte* allocate_frame(Threadgroup* threadgroup, std::uint64_t bytes) noexcept {
  return static_cast<Arena*>(threadgroup->arena)->allocate(bytes);
}

Extent position_of(std::uint64_t index, const Extent& groups) {
  const std::uint64_t row = index / groups[0];
  return {static_cast<std::uint32_t>(index % groups[0]),
          static_cast<std::uint32_t>(row % groups[1]), static_cast<std::uint32_t>(row / groups[1])};
}

void step(Extent& position, const Extent& groups) {
  if (++position[0] < groups[0]) return;
  position[0] = 0;
  if (++position[1] < groups[1]) return;
  position[1] = 0;
  ++position[2];
}

// The most specialised code that may run a threadgroup of this size.
Variant variant_of(const Extent& size, const Geometry& geometry) {
  if (size[0] % kSimdWidth == 0 && geometry.group_size[0] % kSimdWidth == 0) return Variant::kFull;
  const bool rows = size[0] % kSimdWidth == 0 || size[1] * size[2] == 1;
  return rows ? Variant::kRows : Variant::kAny;
}

// Which variants the grid's threadgroups need.
std::array<bool, kVariants> variants_of(const Geometry& geometry) {
  std::array<bool, kVariants> needed{};
  for (int corner = 0; corner < 8; ++corner) {
    Extent position{};
    for (int axis = 0; axis < 3; ++axis)
      if (corner >> axis & 1) position[axis] = geometry.groups[axis] - 1;
    needed[std::size_t(variant_of(geometry.size_at(position), geometry))] = true;
  }
  return needed;
}

// Where kernels find what is bound; host bytes are copied to where any vector type may lie.
Pointers pointers_of(std::span<const Binding> bindings, Arena& copies) {
  Pointers pointers{};
  for (const Binding& binding : bindings) {
    std::byte*& pointer = pointers[binding.index];
    if (const auto* memory = std::get_if<BoundMemory>(&binding.source)) {
      pointer = reinterpret_cast<std::byte*>(memory->handle) + memory->offset;
    } else {
      const auto bytes = std::get<std::span<const std::byte>>(binding.source);
      pointer = copies.allocate(bytes.size());
      std::copy(bytes.begin(), bytes.end(), pointer);
    }
  }
  return pointers;
}

double thread_count(const Extent& size) { return double(size[0]) * size[1] * size[2]; }

}  // namespace

// One dispatch, as every host thread that takes part sees it.
class SoftwarePipeline::Run {
 public:
  using Slots = std::array<const Slot*, kVariants>;  // null where not needed

  Run(const Dispatch& dispatch, const Slots& slots)
      : dispatch_(dispatch),
        slots_(slots),
        buffers_(pointers_of(dispatch.bindings, scratch().constants)) {
    for (const Slot* slot : slots)
      if (slot)  // all code of a kernel wants the same
        static_bytes_ = std::max(static_bytes_, round_to_line(best(*slot).threadgroup_bytes));
    for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory)
      dynamic_bytes_ += round_to_line(memory.bytes);
  }

  const Geometry& geometry() const { return dispatch_.geometry; }

  // Whether better code may come while this runs.
  bool is_quick() const {
    return std::any_of(slots_.begin(), slots_.end(),
                       [](const Slot* slot) { return slot && best(*slot).is_quick; });
  }

  ~Run() { scratch().constants.reset(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Runs the threadgroups numbered [begin, end) on this host thread.
  void operator()(std::uint64_t begin, std::uint64_t end) const {
    Scratch& mine = scratch();
    std::byte* shared = mine.threadgroup_memory(static_bytes_ + dynamic_bytes_);
    const Pointers shared_pointers = threadgroup_pointers(shared + static_bytes_);
    const Geometry& geometry = dispatch_.geometry;
    Extent position = position_of(begin, geometry.groups);
    for (std::uint64_t index = begin; index < end; ++index, step(position, geometry.groups)) {
      const Extent size = geometry.size_at(position);
      Threadgroup threadgroup = describe(position, size);
      threadgroup.threadgroup_buffers = shared_pointers.data();
      threadgroup.threadgroup_memory = shared;
      threadgroup.arena = &mine.frames;
      best(*slots_[std::size_t(variant_of(size, geometry))]).entry(&threadgroup);
      mine.frames.reset();
    }
  }

 private:
  static const NativeCode& best(const Slot& slot) {
    return *slot.best.load(std::memory_order_acquire);
  }

  Pointers threadgroup_pointers(std::byte* memory) const {
    Pointers pointers{};
    for (const ThreadgroupMemory& wanted : dispatch_.threadgroup_memory) {
      pointers[wanted.index] = memory;
      memory += round_to_line(wanted.bytes);
    }
    return pointers;
  }

  Threadgroup describe(const Extent& position, const Extent& size) const {
    const Geometry& geometry = dispatch_.geometry;
    Threadgroup threadgroup{};
    threadgroup.buffers = buffers_.data();
    threadgroup.allocate = allocate_frame;
    for (int axis = 0; axis < 3; ++axis) {
      threadgroup.position[axis] = position[axis];
      threadgroup.size[axis] = size[axis];
      threadgroup.full_size[axis] = geometry.group_size[axis];
      threadgroup.grid[axis] = geometry.grid[axis];
      threadgroup.groups[axis] = geometry.groups[axis];
    }
    return threadgroup;
  }

  const Dispatch& dispatch_;
  const Slots slots_;
  const Pointers buffers_;
  std::size_t static_bytes_ = 0;
  std::size_t dynamic_bytes_ = 0;
};

SoftwarePipeline::SoftwarePipeline(std::string kernel, std::vector<FunctionConstant> constants,
                                   std::shared_ptr<const Translator> translator,
                                   std::shared_ptr<ThreadPool> pool)
    : kernel_(std::move(kernel)),
      constants_(std::move(constants)),
      translator_(std::move(translator)),
      pool_(std::move(pool)),
      // Unknown yet: the first dispatch is shared at once, however small.
      thread_seconds_(1) {}

std::uint32_t SoftwarePipeline::max_total_threads() const { return kMaxTotalThreads; }

const SoftwarePipeline::Slot& SoftwarePipeline::translated(Variant variant) {
  const Slot& slot = slots_[std::size_t(variant)];
  if (slot.best.load(std::memory_order_acquire)) return slot;
  const std::lock_guard lock(translating_);
  if (slot.best.load(std::memory_order_acquire)) return slot;
  const auto improve = [weak = weak_from_this(), variant](NativeCode code) {
    if (const auto self = weak.lock()) self->publish(variant, std::move(code), true);
  };
  publish(variant, (*translator_)(kernel_, constants_, variant, improve), false);
  return slot;
}

// Threadgroups that start from now on run `code`, unless it came after what improves on it.
void SoftwarePipeline::publish(Variant variant, NativeCode code, bool improves) {
  Slot& slot = slots_[std::size_t(variant)];
  const std::lock_guard lock(publishing_);
  slot.published.push_back(std::make_unique<const NativeCode>(std::move(code)));
  if (improves || !slot.best.load(std::memory_order_relaxed))
    slot.best.store(slot.published.back().get(), std::memory_order_release);
}

void SoftwarePipeline::dispatch(const Dispatch& dispatch) {
  const Geometry& geometry = dispatch.geometry;
  if (geometry.empty()) return;
  const std::array<bool, kVariants> needed = variants_of(geometry);
  Run::Slots slots{};
  for (std::size_t i = 0; i < kVariants; ++i)
    if (needed[i]) slots[i] = &translated(Variant(i));
  const Run run(dispatch, slots);

  const std::uint64_t count = geometry.group_count();
  const double expected = group_seconds(geometry) * double(count);
  const std::uint64_t done = expected > kSharingSeconds ? 0 : run_alone(run, count);
  if (done < count) run_shared(run, done, count);
}

double SoftwarePipeline::group_seconds(const Geometry& geometry) const {
  return thread_seconds_.load(std::memory_order_relaxed) * thread_count(geometry.group_size);
}

void SoftwarePipeline::remember(double seconds, std::uint64_t groups, const Geometry& geometry) {
  thread_seconds_.store(seconds / (double(groups) * thread_count(geometry.group_size)),
                        std::memory_order_relaxed);
}

// Runs threadgroups on this thread until all are done or help would pay; returns how many are done.
std::uint64_t SoftwarePipeline::run_alone(const Run& run, std::uint64_t count) {
  const auto start = Clock::now();
  std::uint64_t done = 0;
  double spent = 0;
  do {
    const std::uint64_t batch = std::min(count - done, done + 1);
    run(done, done + batch);
    done += batch;
    spent = seconds_since(start);
  } while (done < count && spent / double(done) * double(count - done) < kSharingSeconds);
  remember(spent, done, run.geometry());
  return done;
}

void SoftwarePipeline::run_shared(const Run& run, std::uint64_t first, std::uint64_t count) {
  // What optimises the kernel meanwhile, in another process, has a core to itself.
  const unsigned spared = run.is_quick() ? 1 : 0;
  pool_->run(first, count, spared, [&](std::uint64_t begin, std::uint64_t end) {
    const auto start = Clock::now();
    run(begin, end);
    if (begin == first) remember(seconds_since(start), end - begin, run.geometry());
  });
}

}  // namespace metalgen
