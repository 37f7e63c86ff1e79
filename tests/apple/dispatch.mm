// Grand Central Dispatch for one process: serial queues with macOS's fatal checks, and data.
#import <Foundation/Foundation.h>
#include <dispatch/dispatch.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "dispatch.h"

@protocol OS_dispatch_queue
@end
@protocol OS_dispatch_data
@end

@interface SoftQueueObject : NSObject <OS_dispatch_queue> {
 @public
  std::string label;
  std::mutex mutex;
  std::atomic<std::thread::id> owner;
}
@end
@implementation SoftQueueObject
@end

@interface SoftData : NSObject <OS_dispatch_data> {
 @public
  std::string bytes;
}
@end
@implementation SoftData
@end

namespace {

SoftQueueObject* soft(dispatch_queue_t queue) { return static_cast<SoftQueueObject*>(queue); }

[[noreturn]] void crash(const char* why, const std::string& label) {
  std::fprintf(stderr, "BUG IN CLIENT OF LIBDISPATCH: %s (queue '%s')\n", why, label.c_str());
  std::abort();
}

}  // namespace

extern "C" dispatch_queue_t dispatch_queue_create(const char* label, void*) {
  SoftQueueObject* queue = [SoftQueueObject new];
  queue->label = label;
  return queue;
}

extern "C" void dispatch_sync(dispatch_queue_t handle,
                              __attribute__((noescape)) dispatch_block_t block) {
  SoftQueueObject* const queue = soft(handle);
  if (on_queue(handle))
    crash("dispatch_sync called on queue already owned by current thread", queue->label);
  const std::lock_guard lock(queue->mutex);
  queue->owner = std::this_thread::get_id();
  try {
    block();
  } catch (...) {
    crash("an exception left a block", queue->label);
  }
  queue->owner = std::thread::id();
}

extern "C" dispatch_data_t dispatch_data_create(const void* bytes, size_t size, dispatch_queue_t,
                                                dispatch_block_t destructor) {
  if (destructor) crash("only copied data is known here", "none");
  SoftData* data = [SoftData new];
  data->bytes.assign(static_cast<const char*>(bytes), size);
  return data;
}

bool on_queue(dispatch_queue_t queue) {
  return soft(queue)->owner.load() == std::this_thread::get_id();
}

const std::string& bytes_of(dispatch_data_t data) { return static_cast<SoftData*>(data)->bytes; }
