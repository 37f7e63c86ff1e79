// torch's MPS stream, reached by name so that one build serves every torch since 2.4.
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

  // Waits for the GPU; not to be called on the queue.
  void synchronize() const { synchronize_(); }

 private:
  dispatch_queue_t (*queue_)();
  void* (*stream_)();
  id<MTLComputeCommandEncoder> (*command_encoder_)(void* stream);
  void (*synchronize_)();
};

}  // namespace metalgen
