// Encodes dispatches: arguments, threadgroup memory, grid, and barriers where the encoder needs any.
#include "apple/apple_pipeline.h"

#include <string>

#include "errors.h"

namespace metalgen {
namespace {

// Metal takes at most this many bytes by value; more go through a buffer.
constexpr std::size_t kMaxInlineBytes = 4096;

id<MTLBuffer> buffer_of(std::uintptr_t handle) {
  return (__bridge id<MTLBuffer>)reinterpret_cast<void*>(handle);
}

MTLSize size_of(const Extent& extent) { return MTLSizeMake(extent[0], extent[1], extent[2]); }

// Room that no kernel may touch, for Metal wants a buffer wherever a kernel declares one.
id<MTLBuffer> nothing(id<MTLDevice> device) {
  return [device newBufferWithLength:16 options:MTLResourceStorageModeShared];
}

void bind(id<MTLComputeCommandEncoder> encoder, id<MTLDevice> device, const Binding& binding) {
  if (const auto* memory = std::get_if<BoundMemory>(&binding.source)) {
    // torch gives tensors without elements no buffer.
    id<MTLBuffer> buffer = memory->handle ? buffer_of(memory->handle) : nothing(device);
    [encoder setBuffer:buffer offset:memory->offset atIndex:binding.index];
    return;
  }
  const auto bytes = std::get<std::span<const std::byte>>(binding.source);
  if (bytes.empty()) return;  // Metal refuses a length of 0
  if (bytes.size() <= kMaxInlineBytes) {
    [encoder setBytes:bytes.data() length:bytes.size() atIndex:binding.index];
    return;
  }
  // The encoder keeps the buffer until the GPU has run.
  id<MTLBuffer> copy = [device newBufferWithBytes:bytes.data()
                                           length:bytes.size()
                                          options:MTLResourceStorageModeShared];
  [encoder setBuffer:copy offset:0 atIndex:binding.index];
}

// Whether no threadgroup at the grid's edge is cut.
bool is_whole(const Geometry& geometry) {
  for (int axis = 0; axis < 3; ++axis)
    if (geometry.grid[axis] % geometry.group_size[axis] != 0) return false;
  return true;
}

const ApplePipeline& apple(const Pipeline* pipeline) {
  const auto* found = dynamic_cast<const ApplePipeline*>(pipeline);
  if (!found) throw LaunchError("a kernel of another device cannot run with this one's");
  return *found;
}

// What an earlier dispatch wrote is there only behind a barrier, unless dispatches are serial.
void await(id<MTLComputeCommandEncoder> encoder) {
  if (encoder.dispatchType == MTLDispatchTypeConcurrent)
    [encoder memoryBarrierWithScope:MTLBarrierScopeBuffers];
}

}  // namespace

void AppleStream::encode(std::span<const Launch> launches) const {
  for (const Launch& launch : launches) apple(launch.pipeline).check(launch.dispatch);
  __block bool encoded = false;
  // Everything that touches torch's encoder runs on its queue; no exception may leave the block.
  dispatch_sync(torch.queue(), ^{
    @autoreleasepool {
      if (follow_all) report->follow(torch.command_buffer());
      id<MTLComputeCommandEncoder> encoder = torch.command_encoder();
      if (encoder == nil) return;
      bool first = true;
      for (const Launch& launch : launches) {
        if (launch.dispatch.geometry.empty()) continue;
        if (first || launch.waits) await(encoder);
        first = false;
        static_cast<const ApplePipeline*>(launch.pipeline)->encode(encoder, launch.dispatch);
      }
      encoded = true;
    }
  });
  if (!encoded) throw LaunchError("torch's MPS stream gave no command encoder");
}

std::uint32_t ApplePipeline::max_total_threads() const {
  return static_cast<std::uint32_t>(state_.maxTotalThreadsPerThreadgroup);
}

void ApplePipeline::dispatch(const Dispatch& dispatch) {
  if (dispatch.geometry.empty()) return;
  const Launch launch{this, dispatch, false};
  stream_->encode({&launch, 1});
}

void ApplePipeline::check(const Dispatch& dispatch) const {
  const Extent& size = dispatch.geometry.group_size;
  const std::uint64_t threads = std::uint64_t{size[0]} * size[1] * size[2];
  if (threads > state_.maxTotalThreadsPerThreadgroup)
    throw LaunchError("expected at most " + std::to_string(max_total_threads()) +
                      " threads a threadgroup on this GPU, found " + std::to_string(threads));
}

void ApplePipeline::encode(id<MTLComputeCommandEncoder> encoder, const Dispatch& dispatch) const {
  [encoder setComputePipelineState:state_];
  for (const Binding& binding : dispatch.bindings) bind(encoder, state_.device, binding);
  for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory)
    [encoder setThreadgroupMemoryLength:memory.bytes atIndex:memory.index];
  const Geometry& geometry = dispatch.geometry;
  if (is_whole(geometry))
    [encoder dispatchThreadgroups:size_of(geometry.groups)
            threadsPerThreadgroup:size_of(geometry.group_size)];
  else
    [encoder dispatchThreads:size_of(geometry.grid)
        threadsPerThreadgroup:size_of(geometry.group_size)];
}

}  // namespace metalgen
