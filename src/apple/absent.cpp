// What stands in for Apple's device on systems without Metal.
#include "apple/apple_device.h"
#include "errors.h"

namespace metalgen {

bool has_apple_device() { return false; }

std::unique_ptr<Device> make_apple_device(const std::string&) {
  throw ToolchainError("Apple GPUs need macOS; tensors on the cpu use the software device");
}

}  // namespace metalgen
