// The software device: kernels as host code, threadgroups spread over the processor's cores.
#pragma once

#include <memory>

#include "device.h"

namespace metalgen {

// Runs on `threads` host threads, the caller's included.
std::unique_ptr<Device> make_software_device(unsigned threads);

}  // namespace metalgen
