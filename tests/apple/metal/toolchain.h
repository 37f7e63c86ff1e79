// How the software Metal learns what a metallib holds and gets host code for its kernels.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device.h"

namespace soft {

struct BufferArgument {
  std::uint32_t index;
  std::size_t needed;  // bytes that a reference needs, 0 for pointers
  std::size_t alignment;
  std::string name;
};

struct ConstantArgument {
  std::uint32_t index;
  std::string type_name, name;
};

struct Kernel {
  std::size_t threadgroup_bytes = 0;
  std::uint32_t max_threads = 1024;
  std::vector<BufferArgument> buffers;  // those that must be bound
  std::vector<std::uint32_t> threadgroup_indices;
  std::vector<ConstantArgument> constants;
};

struct Metallib {
  std::uint64_t id = 0;  // the toolchain's
  std::map<std::string, Kernel> kernels;
};

// A metallib's kernels; throws std::runtime_error for what is not a metallib.
Metallib describe(const std::string& bytes);

// Host code for a kernel; throws std::runtime_error with the translator's reason.
metalgen::NativeCode translate(std::uint64_t metallib, const std::string& kernel,
                               std::span<const metalgen::FunctionConstant> constants,
                               metalgen::Variant variant);

}  // namespace soft
