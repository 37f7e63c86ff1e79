// Errors of the native core; the bindings turn them into the types of metalgen.errors.
#pragma once

#include <stdexcept>

namespace metalgen {

// Wrong arguments or geometry for a dispatch.
class LaunchError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A device or one of its tools is missing, or failed for a reason of its own.
class ToolchainError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace metalgen
