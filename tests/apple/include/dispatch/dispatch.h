// Grand Central Dispatch as far as torch's MPS stream needs it; Apple's own header on Apple targets.
#pragma once

#ifdef __APPLE__
#include_next <dispatch/dispatch.h>
#else

#include <stddef.h>

@class NSObject;
@protocol OS_dispatch_queue;
@protocol OS_dispatch_data;

typedef NSObject<OS_dispatch_queue>* dispatch_queue_t;
typedef NSObject<OS_dispatch_data>* dispatch_data_t;
typedef void (^dispatch_block_t)(void);

#define DISPATCH_DATA_DESTRUCTOR_DEFAULT nullptr

extern "C" {
dispatch_queue_t dispatch_queue_create(const char* label, void* attributes)
    __attribute__((ns_returns_retained));
void dispatch_sync(dispatch_queue_t queue, __attribute__((noescape)) dispatch_block_t block);
dispatch_data_t dispatch_data_create(const void* bytes, size_t size, dispatch_queue_t queue,
                                     dispatch_block_t destructor)
    __attribute__((ns_returns_retained));
}

#endif
