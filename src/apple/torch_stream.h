// torch's MPS stream, reached by name so that one build serves every torch since 2.4.
//
// Queue, encoder and command buffer are those of the calling thread's current stream. Until torch
// 2.14 that is the one default stream; from 2.15 on threads may have streams of their own.
#pragma once

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <string>

namespace metalgen {

class TorchStream {
 public:
  // From the loaded libtorch_cpu at `path`; throws ToolchainError where it has no MPS stream.
  static TorchStream of(const std::string& path);

  // The queue that everything below must run on.
  dispatch_queue_t queue() const { return queue_(); }

  // torch's own open encoder: never to be ended or kept.
  id<MTLComputeCommandEncoder> command_encoder() const { return command_encoder_(stream_()); }

  // torch's own command buffer, its encoder ended: never to be committed or kept.
  id<MTLCommandBuffer> command_buffer() const {
    end_kernel_coalescing_(stream_());
    return command_buffer_();
  }

  // Commits and waits for the GPU; not to be called on the queue.
  void synchronize() const { synchronize_(); }

 private:
  dispatch_queue_t (*queue_)();
  void* (*stream_)();
  id<MTLComputeCommandEncoder> (*command_encoder_)(void* stream);
  void (*end_kernel_coalescing_)(void* stream);
  id<MTLCommandBuffer> (*command_buffer_)();
  void (*synchronize_)();
};

}  // namespace metalgen
