// What the GPU says of the command buffers it has run: times, errors, findings of shader validation.
#pragma once

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "device.h"

namespace metalgen {

// Collects from all command buffers followed; Metal calls back on a thread of its own.
class GpuReport : public std::enable_shared_from_this<GpuReport> {
 public:
  // Hear of `buffer` when it has completed; before it is committed.
  void follow(id<MTLCommandBuffer> buffer);

  // Waits for the buffers followed so far, which must have been committed; gives the last one's
  // times and throws LaunchError with what all of them reported since the last call.
  Interval wait();

 private:
  void complete(id<MTLCommandBuffer> buffer);

  std::mutex mutex_;
  std::condition_variable completed_;
  int pending_ = 0;
  Interval last_{};
  std::string findings_;
};

// Whether the process was started with Metal's shader validation.
bool validates_shaders();

}  // namespace metalgen
