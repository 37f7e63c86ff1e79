// torch's MPS stream as the Apple backend finds it in libtorch_cpu: same symbols, same manners.
//
// Compiled without ARC, as torch compiles its own: what it returns is not retained for the caller.
#import <Metal/Metal.h>

#include "../dispatch.h"
#include "../metal/objects.h"
#include "../metal/validation.h"

namespace {

struct Stream {
  dispatch_queue_t queue = dispatch_queue_create("metal gpu stream", nullptr);
  id<MTLCommandQueue> commands = nil;
  id<MTLCommandBuffer> buffer = nil;
  id<MTLComputeCommandEncoder> encoder = nil;
  MTLDispatchType type = MTLDispatchTypeSerial;
};

Stream& stream() {
  static auto& stream = *new Stream;
  return stream;
}

void end_encoding(Stream& own) {
  [own.encoder endEncoding];
  [own.encoder release];
  own.encoder = nil;
}

id<MTLCommandBuffer> open_buffer(Stream& own) {
  if (own.buffer) return own.buffer;
  id<MTLDevice> device = MTLCreateSystemDefaultDevice();
  if (!own.commands) own.commands = [device newCommandQueue];
  [device release];
  own.buffer = [[own.commands commandBuffer] retain];
  return own.buffer;
}

void commit_and_wait() {
  Stream& own = stream();
  if (!own.buffer) return;
  end_encoding(own);
  [own.buffer commit];
  [own.buffer waitUntilCompleted];
  [own.buffer release];
  own.buffer = nil;
}

}  // namespace

extern "C" {

dispatch_queue_t get_dispatch_queue() asm("_ZN5torch3mps18get_dispatch_queueEv");
dispatch_queue_t get_dispatch_queue() { return stream().queue; }

void* get_current_stream() asm("_ZN2at3mps19getCurrentMPSStreamEv");
void* get_current_stream() { return &stream(); }

id<MTLComputeCommandEncoder> command_encoder(void*) asm(
    "_ZN2at3mps9MPSStream14commandEncoderEv");
id<MTLComputeCommandEncoder> command_encoder(void* handle) {
  auto& own = *static_cast<Stream*>(handle);
  validate(on_queue(own.queue), "at::mps::MPSStream::commandEncoder",
           "called on the stream's queue");
  if (own.encoder) return own.encoder;
  @autoreleasepool {
    own.encoder = [[open_buffer(own) computeCommandEncoderWithDispatchType:own.type] retain];
  }
  static_cast<SoftEncoder*>(own.encoder)->queue = [own.queue retain];
  return own.encoder;
}

void end_kernel_coalescing(void*) asm("_ZN2at3mps9MPSStream19endKernelCoalescingEv");
void end_kernel_coalescing(void* handle) {
  auto& own = *static_cast<Stream*>(handle);
  validate(on_queue(own.queue), "at::mps::MPSStream::endKernelCoalescing",
           "called on the stream's queue");
  end_encoding(own);
}

// Ends no encoder, as in torch before 2.10.
id<MTLCommandBuffer> get_command_buffer() asm("_ZN5torch3mps18get_command_bufferEv");
id<MTLCommandBuffer> get_command_buffer() {
  validate(on_queue(stream().queue), "torch::mps::get_command_buffer",
           "called on the stream's queue");
  return open_buffer(stream());
}

// Whether torch's encoders let dispatches overlap.
void soft_overlap(bool overlaps) {
  stream().type = overlaps ? MTLDispatchTypeConcurrent : MTLDispatchTypeSerial;
}

void synchronize() asm("_ZN5torch3mps11synchronizeEv");
void synchronize() {
  dispatch_sync(stream().queue, ^{
    @autoreleasepool {
      commit_and_wait();
    }
  });
}

// For the software mps tensors, which know no Objective-C: their data pointer is the MTLBuffer.
void* soft_buffer(size_t bytes) {
  @autoreleasepool {
    id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    void* buffer = (void*)[device newBufferWithLength:bytes options:MTLResourceStorageModeShared];
    [device release];
    return buffer;
  }
}
void soft_buffer_release(void* buffer) { [(id)buffer release]; }
void* soft_buffer_contents(void* buffer) { return [(id<MTLBuffer>)buffer contents]; }
void soft_synchronize() { synchronize(); }

// The linker sends the Apple backend's dlopen here: torch's macOS library is this one.
void* soft_dlopen(const char* path, int) asm("__wrap_dlopen");
}

#include <dlfcn.h>

#include <string_view>

void* soft_dlopen(const char* path, int mode) {
  if (!std::string_view(path).ends_with("torch/lib/libtorch_cpu.dylib"))
    return dlopen(path, mode);
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&soft_synchronize), &info);
  return dlopen(info.dli_fname, mode);
}
