// A kernel on Apple's GPU, and how dispatches get into torch's encoder.
#pragma once

#import <Metal/Metal.h>

#include <memory>
#include <span>
#include <utility>

#include "apple/gpu_report.h"
#include "apple/torch_stream.h"
#include "device.h"

namespace metalgen {

// What dispatches need of their device.
struct AppleStream {
  TorchStream torch;
  std::shared_ptr<GpuReport> report = std::make_shared<GpuReport>();
  bool follow_all = validates_shaders();

  // In one encoder, in torch's order.
  void encode(std::span<const Launch> launches) const;
};

class ApplePipeline final : public Pipeline {
 public:
  ApplePipeline(id<MTLComputePipelineState> state, std::shared_ptr<const AppleStream> stream)
      : state_(state), stream_(std::move(stream)) {}

  std::uint32_t max_total_threads() const override;
  void dispatch(const Dispatch& dispatch) override;

  // Throws LaunchError for threadgroups that this GPU cannot run.
  void check(const Dispatch& dispatch) const;
  void encode(id<MTLComputeCommandEncoder> encoder, const Dispatch& dispatch) const;

 private:
  const id<MTLComputePipelineState> state_;
  const std::shared_ptr<const AppleStream> stream_;
};

}  // namespace metalgen
