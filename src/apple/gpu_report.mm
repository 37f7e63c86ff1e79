// Reads completed command buffers.
#include "apple/gpu_report.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "apple/text.h"
#include "errors.h"

namespace metalgen {
namespace {

// Metal calls back at once after the buffer's end; more means that it never will.
constexpr std::chrono::seconds kPatience{30};

// An error and every finding of shader validation, a line each; empty if all went well.
std::string findings_of(id<MTLCommandBuffer> buffer) {
  std::string text;
  if (buffer.error != nil) text = text_of(buffer.error);
  for (id log in buffer.logs) {
    if (!text.empty()) text += '\n';
    text += text_of([log description]);
  }
  return text;
}

}  // namespace

void GpuReport::follow(id<MTLCommandBuffer> buffer) {
  {
    const std::lock_guard lock(mutex_);
    ++pending_;
  }
  const auto self = shared_from_this();  // lives until the GPU is done
  [buffer addCompletedHandler:^(id<MTLCommandBuffer> completed) {
    self->complete(completed);
  }];
}

void GpuReport::complete(id<MTLCommandBuffer> buffer) {
  @autoreleasepool {
    std::string found = findings_of(buffer);
    const std::lock_guard lock(mutex_);
    if (!found.empty()) findings_ += (findings_.empty() ? "" : "\n") + found;
    last_ = {buffer.GPUStartTime, buffer.GPUEndTime};
    --pending_;
  }
  completed_.notify_all();
}

Interval GpuReport::wait() {
  std::unique_lock lock(mutex_);
  if (!completed_.wait_for(lock, kPatience, [&] { return pending_ == 0; }))
    throw LaunchError("Metal does not say how the GPU's work ended");
  const std::string findings = std::exchange(findings_, {});
  if (!findings.empty()) throw LaunchError("the GPU reports: " + findings);
  return last_;
}

bool validates_shaders() {
  const char* value = std::getenv("MTL_SHADER_VALIDATION");
  return value && std::strcmp(value, "0") != 0;
}

}  // namespace metalgen
