// Apple's GPU through Metal, dispatching on torch's MPS stream; absent everywhere but on macOS.
#pragma once

#include <memory>
#include <string>

#include "device.h"

namespace metalgen {

// Whether this build knows Metal and the machine has a GPU for it.
bool has_apple_device();

// Dispatches on the stream of the torch whose libtorch_cpu is the file `torch_library`. Throws
// ToolchainError where there is no GPU or no such stream.
std::unique_ptr<Device> make_apple_device(const std::string& torch_library);

}  // namespace metalgen
