// Command queues and buffers, and the one thread that stands for the GPU: later, in order.
#include "metal/objects.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "../foundation.h"
#include "metal/validation.h"

namespace {

// Long enough that whoever forgets to wait reads old values.
constexpr auto kLatency = std::chrono::milliseconds(3);

void run(const soft::Work& work) {
  std::vector<metalgen::Binding> bindings;
  for (std::uint32_t index = 0; index < work.slots.size(); ++index) {
    const soft::Slot& slot = work.slots[index];
    if (slot.buffer)
      bindings.push_back(
          {index, metalgen::BoundMemory{reinterpret_cast<std::uintptr_t>(slot.buffer->bytes),
                                        slot.offset}});
    else if (slot.bound()) bindings.push_back({index, std::span<const std::byte>(slot.bytes)});
  }
  std::vector<metalgen::ThreadgroupMemory> memory;
  for (std::uint32_t index = 0; index < work.threadgroup.size(); ++index)
    if (work.threadgroup[index]) memory.push_back({index, work.threadgroup[index]});
  work.pipeline->native->dispatch({bindings, memory, work.geometry});
}

// What does not wait runs before what was encoded earlier: whoever forgets a barrier sees it.
void run_all(const std::vector<soft::Work>& work) {
  for (std::size_t begin = 0; begin < work.size();) {
    std::size_t end = begin + 1;
    while (end < work.size() && !work[end].waits) ++end;
    for (std::size_t index = end; index > begin; --index) run(work[index - 1]);
    begin = end;
  }
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::atomic<int> encoders_made;

soft::Misfortune& misfortune() {
  static auto& misfortune = *new soft::Misfortune;
  return misfortune;
}

// Never destroyed: the process may end while it runs.
class Gpu {
 public:
  static Gpu& instance() {
    static auto& gpu = *new Gpu;
    return gpu;
  }

  void submit(SoftCommandBuffer* buffer) {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
    committed_.push_back(buffer);
    changed_.notify_all();
  }

  void wait_for(SoftCommandBuffer* buffer) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return buffer->progress == soft::Progress::kCompleted; });
  }

 private:
  [[noreturn]] void serve() {
    for (;;) {
      @autoreleasepool {
        finish(next());
      }
    }
  }

  SoftCommandBuffer* next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !committed_.empty(); });
    SoftCommandBuffer* buffer = committed_.front();
    committed_.pop_front();
    return buffer;
  }

  void finish(SoftCommandBuffer* buffer) {
    std::this_thread::sleep_for(kLatency);
    buffer->start = seconds();
    run_all(buffer->work);
    buffer->end = seconds();
    buffer->work.clear();
    soft::Misfortune reported = std::exchange(misfortune(), {});
    buffer->failure = std::move(reported.failure);
    buffer->findings = std::move(reported.findings);
    for (MTLCommandBufferHandler handler : buffer->handlers) handler(buffer);
    buffer->handlers.clear();
    const std::lock_guard lock(mutex_);
    buffer->progress = soft::Progress::kCompleted;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<SoftCommandBuffer*> committed_;
  std::thread thread_;
};

}  // namespace

@implementation SoftCommandBuffer
- (id<MTLComputeCommandEncoder>)computeCommandEncoder {
  return [self computeCommandEncoderWithDispatchType:MTLDispatchTypeSerial];
}
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type {
  const char* method = "-[_MTLCommandBuffer computeCommandEncoder]";
  validate(progress == soft::Progress::kEncoding, method, "command buffer is committed");
  validate(open == nil, method, "A command encoder is already encoding to this command buffer");
  SoftEncoder* encoder = [SoftEncoder new];
  ++encoders_made;
  encoder->command_buffer = self;
  encoder->type = type;
  open = encoder;
  return encoder;
}
- (void)commit {
  const char* method = "-[_MTLCommandBuffer commit]";
  validate(progress == soft::Progress::kEncoding, method, "commit twice");
  validate(open == nil, method, "commit command buffer with uncommitted encoder");
  progress = soft::Progress::kCommitted;
  Gpu::instance().submit(self);
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)block {
  validate(progress == soft::Progress::kEncoding, "-[_MTLCommandBuffer addCompletedHandler:]",
           "Completed handler provided after commit call");
  handlers.push_back(block);
}
- (NSError*)error {
  return failure.empty() ? nil : soft_error(@"MTLCommandBufferErrorDomain", 1, failure);
}
- (id<MTLLogContainer>)logs {
  return (id<MTLLogContainer>)soft_array(findings);
}
- (CFTimeInterval)GPUStartTime {
  return start;
}
- (CFTimeInterval)GPUEndTime {
  return end;
}
- (void)waitUntilCompleted {
  validate(progress != soft::Progress::kEncoding, "-[_MTLCommandBuffer waitUntilCompleted]",
           "command buffer is not committed");
  Gpu::instance().wait_for(self);
}
@end

@interface SoftCommandQueue : NSObject <MTLCommandQueue>
@end
@implementation SoftCommandQueue
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (id<MTLCommandBuffer>)commandBuffer {
  return [SoftCommandBuffer new];
}
@end

extern "C" int soft_encoders_made() { return encoders_made; }
extern "C" void soft_fail_next(const char* error) { misfortune().failure = error; }
extern "C" void soft_find_next(const char* finding) { misfortune().findings.push_back(finding); }

id<MTLCommandQueue> soft_command_queue() { return [SoftCommandQueue new]; }
