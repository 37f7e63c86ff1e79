// Compute encoders: what is bound, checked as Apple's validation layer checks it, then recorded.
#include "metal/objects.h"

#include "../dispatch.h"
#include "metal/validation.h"

using metalgen::Extent;
using metalgen::Geometry;

namespace {

constexpr const char* kDispatch =
    "-[MTLDebugComputeCommandEncoder validateCommonDispatchErrorsWithGroupSize:]";

Extent extent_of(MTLSize size) {
  return {static_cast<std::uint32_t>(size.width), static_cast<std::uint32_t>(size.height),
          static_cast<std::uint32_t>(size.depth)};
}

bool fits(MTLSize size) { return (size.width | size.height | size.depth) <= UINT32_MAX; }

void check_buffers(const SoftEncoder* encoder) {
  const std::string name = "Compute Function(" + encoder->pipeline->function->name_ + "): ";
  for (const soft::BufferArgument& argument : encoder->pipeline->function->kernel.buffers) {
    const soft::Slot& slot = encoder->slots[argument.index];
    const std::string at = std::to_string(argument.index) + " for " + argument.name + "[0].";
    validate(slot.bound(), kDispatch, name + "missing Buffer binding at index " + at);
    validate(slot.available() >= argument.needed, kDispatch,
             name + "argument " + argument.name + "[0] from Buffer(" +
                 std::to_string(argument.index) + ") has space for " +
                 std::to_string(slot.available()) + " bytes, but argument has a length(" +
                 std::to_string(argument.needed) + ").");
    validate(slot.offset % argument.alignment == 0, kDispatch,
             name + "the offset into the buffer at index " + std::to_string(argument.index) +
                 " must be a multiple of " + std::to_string(argument.alignment));
  }
}

void check_threadgroup_memory(const SoftEncoder* encoder) {
  const soft::Kernel& kernel = encoder->pipeline->function->kernel;
  std::size_t total = kernel.threadgroup_bytes;
  for (const std::uint32_t index : kernel.threadgroup_indices) {
    total += encoder->threadgroup[index];
    validate(encoder->threadgroup[index] != 0, kDispatch,
             "Compute Function(" + encoder->pipeline->function->name_ +
                 "): missing threadgroupMemory binding at index " + std::to_string(index));
  }
  validate(total <= soft::kThreadgroupMemory, kDispatch,
           "(threadgroup memory of " + std::to_string(total) + " bytes) must be <= 32768.");
}

void check_group(const SoftEncoder* encoder, MTLSize group) {
  const std::uint64_t threads = group.width * group.height * group.depth;
  const std::uint64_t limit = encoder->pipeline->function->kernel.max_threads;
  validate(threads > 0, kDispatch, "threadsPerThreadgroup must not be 0");
  validate(threads <= limit, kDispatch,
           "(threadsPerThreadgroup.width * height * depth)(" + std::to_string(threads) +
               ") must be <= " + std::to_string(limit) + ".");
}

void check(const SoftEncoder* encoder, MTLSize grid, MTLSize group) {
  validate(encoder->pipeline != nil, kDispatch, "No compute pipeline state is set");
  validate(fits(grid) && grid.width * grid.height * grid.depth > 0, kDispatch,
           "the grid must be at least 1 and below 2^32 along every axis");
  check_group(encoder, group);
  check_buffers(encoder);
  check_threadgroup_memory(encoder);
}

}  // namespace

@implementation SoftEncoder

- (void)useFor:(const char*)method {
  validate(!ended, method, "encoder has already ended encoding");
  validate(queue == nil || on_queue(queue), method, "encoder used off the queue of its stream");
}

- (soft::Slot&)slotAt:(NSUInteger)index for:(const char*)method {
  [self useFor:method];
  validate(index < metalgen::kMaxBuffers, method, "index must be <= 30.");
  return slots[index];
}

- (void)setComputePipelineState:(id<MTLComputePipelineState>)state {
  const char* method = "-[MTLDebugComputeCommandEncoder setComputePipelineState:]";
  [self useFor:method];
  validate(state != nil, method, "computePipelineState must not be nil.");
  pipeline = (SoftPipeline*)state;
}

- (void)setBytes:(const void*)bytes length:(NSUInteger)length atIndex:(NSUInteger)index {
  const char* method = "-[MTLDebugComputeCommandEncoder setBytes:length:atIndex:]";
  soft::Slot& slot = [self slotAt:index for:method];
  validate(bytes != nullptr && length > 0, method, "length must be > 0.");
  validate(length <= 4096, method, "length must be <= 4096.");
  const auto* first = static_cast<const std::byte*>(bytes);
  slot = {nil, 0, {first, first + length}};
}

- (void)setBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset atIndex:(NSUInteger)index {
  const char* method = "-[MTLDebugComputeCommandEncoder setBuffer:offset:atIndex:]";
  soft::Slot& slot = [self slotAt:index for:method];
  validate(buffer == nil || offset < buffer.length, method,
           "offset(" + std::to_string(offset) + ") must be < the buffer's length.");
  slot = {(SoftBuffer*)buffer, offset, {}};
}

- (void)setThreadgroupMemoryLength:(NSUInteger)length atIndex:(NSUInteger)index {
  const char* method = "-[MTLDebugComputeCommandEncoder setThreadgroupMemoryLength:atIndex:]";
  [self slotAt:index for:method];
  validate(length % 16 == 0, method, "length must be a multiple of 16 bytes.");
  threadgroup[index] = static_cast<std::uint32_t>(length);
}

- (void)dispatchThreads:(MTLSize)grid threadsPerThreadgroup:(MTLSize)group {
  [self useFor:"-[MTLDebugComputeCommandEncoder dispatchThreads:threadsPerThreadgroup:]"];
  check(self, grid, group);
  [self record:Geometry::of_threads(extent_of(grid), extent_of(group))];
}

- (void)dispatchThreadgroups:(MTLSize)groups threadsPerThreadgroup:(MTLSize)group {
  [self useFor:"-[MTLDebugComputeCommandEncoder dispatchThreadgroups:threadsPerThreadgroup:]"];
  check(self, groups, group);
  [self record:Geometry::of_threadgroups(extent_of(groups), extent_of(group))];
}

- (void)record:(Geometry)geometry {
  const bool serial = type == MTLDispatchTypeSerial;
  command_buffer->work.push_back({pipeline, slots, threadgroup, geometry, serial || waits});
  waits = false;
}

- (MTLDispatchType)dispatchType {
  return type;
}

- (void)memoryBarrierWithScope:(MTLBarrierScope)scope {
  const char* method = "-[MTLDebugComputeCommandEncoder memoryBarrierWithScope:]";
  [self useFor:method];
  validate(scope == MTLBarrierScopeBuffers, method, "scope is not a valid MTLBarrierScope.");
  waits = true;
}

- (void)endEncoding {
  [self useFor:"-[MTLDebugCommandEncoder endEncoding]"];
  ended = true;
  command_buffer->open = nil;
}

- (void)dealloc {
  validate(ended, "-[_MTLCommandEncoder dealloc]",
           "Command encoder released without endEncoding");
}

@end
