// The software Metal's classes, as its files see each other's.
#pragma once

#import <Metal/Metal.h>

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "metal/toolchain.h"

@interface SoftBuffer : NSObject <MTLBuffer> {
 @public
  std::byte* bytes;
  std::size_t size;
  bool owned;
}
@end

@interface SoftLibrary : NSObject <MTLLibrary> {
 @public
  soft::Metallib metallib;
}
@end

@interface SoftFunction : NSObject <MTLFunction> {
 @public
  std::string name_;
  soft::Kernel kernel;
  std::uint64_t metallib;
  std::vector<metalgen::FunctionConstant> constants;
  bool needs_constants;  // made without those that it has
}
@end

@interface SoftPipeline : NSObject <MTLComputePipelineState> {
 @public
  SoftFunction* function;
  std::shared_ptr<metalgen::Pipeline> native;
}
@end

namespace soft {

// What is bound to one [[buffer(i)]]: a buffer, or bytes, or nothing.
struct Slot {
  SoftBuffer* buffer = nil;
  std::size_t offset = 0;
  std::vector<std::byte> bytes;

  std::size_t available() const { return buffer ? buffer->size - offset : bytes.size(); }
  bool bound() const { return buffer || !bytes.empty(); }
};

using Slots = std::array<Slot, metalgen::kMaxBuffers>;
using ThreadgroupLengths = std::array<std::uint32_t, metalgen::kMaxBuffers>;

// One encoded dispatch: everything the GPU needs, as it was when it was encoded.
struct Work {
  SoftPipeline* pipeline;
  Slots slots;
  ThreadgroupLengths threadgroup;
  metalgen::Geometry geometry;
  bool waits;  // for all dispatches before it
};

// Of a command buffer.
enum class Progress { kEncoding, kCommitted, kCompleted };

constexpr std::uint32_t kThreadgroupMemory = 32768;

metalgen::Device& software_device();

// What the next command buffer that is run will report, as tests ask for it.
struct Misfortune {
  std::string failure;
  std::vector<std::string> findings;
};

}  // namespace soft

@class SoftEncoder;

@interface SoftCommandBuffer : NSObject <MTLCommandBuffer> {
 @public
  std::vector<soft::Work> work;
  std::vector<MTLCommandBufferHandler> handlers;
  std::string failure;                // the error's text, if it fails
  std::vector<std::string> findings;  // of shader validation
  double start, end;
  __unsafe_unretained SoftEncoder* open;
  soft::Progress progress;
}
@end

@interface SoftEncoder : NSObject <MTLComputeCommandEncoder> {
 @public
  SoftCommandBuffer* command_buffer;
  dispatch_queue_t queue;  // the only one to encode on, nil for any
  SoftPipeline* pipeline;
  soft::Slots slots;
  soft::ThreadgroupLengths threadgroup;
  MTLDispatchType type;
  bool waits;
  bool ended;
}
@end
