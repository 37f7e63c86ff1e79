// A kernel as host code: translated when first needed, then run threadgroup by threadgroup, each by
// the best code there is by then.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device.h"
#include "software/thread_pool.h"

namespace metalgen {

class SoftwarePipeline final : public Pipeline,
                               public std::enable_shared_from_this<SoftwarePipeline> {
 public:
  SoftwarePipeline(std::string kernel, std::vector<FunctionConstant> constants,
                   std::shared_ptr<const Translator> translator, std::shared_ptr<ThreadPool> pool);

  std::uint32_t max_total_threads() const override;
  void dispatch(const Dispatch& dispatch) override;

 private:
  class Run;

  // Host code of one variant. What was published stays: a threadgroup may still run it.
  struct Slot {
    std::atomic<const NativeCode*> best{nullptr};
    std::vector<std::unique_ptr<const NativeCode>> published;
  };

  const Slot& translated(Variant variant);
  void publish(Variant variant, NativeCode code, bool improves);
  double group_seconds(const Geometry& geometry) const;
  void remember(double seconds, std::uint64_t groups, const Geometry& geometry);
  std::uint64_t run_alone(const Run& run, std::uint64_t count);
  void run_shared(const Run& run, std::uint64_t first, std::uint64_t count);

  const std::string kernel_;
  const std::vector<FunctionConstant> constants_;
  const std::shared_ptr<const Translator> translator_;
  const std::shared_ptr<ThreadPool> pool_;
  std::mutex translating_;  // held while the translator works
  std::mutex publishing_;   // guards `published`; the translator may publish while it works
  std::array<Slot, kVariants> slots_;
  std::atomic<double> thread_seconds_;  // of one GPU thread, as last measured
};

}  // namespace metalgen
