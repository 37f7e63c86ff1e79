// What the software Metal sees of queues and data beyond Grand Central Dispatch's own functions.
#pragma once

#import <Foundation/Foundation.h>
#include <dispatch/dispatch.h>

#include <string>

// Whether the calling thread runs a block of `queue`.
bool on_queue(dispatch_queue_t queue);

const std::string& bytes_of(dispatch_data_t data);
