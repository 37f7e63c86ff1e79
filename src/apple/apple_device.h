// Apple's GPU through Metal, dispatching on torch's MPS stream; absent everywhere but on macOS.
#pragma once

#include <memory>

#include "device.h"

namespace metalgen {

// Whether this build knows Metal and the machine has a GPU for it.
bool has_apple_device();

// Throws ToolchainError where there is none.
std::unique_ptr<Device> make_apple_device();

}  // namespace metalgen
