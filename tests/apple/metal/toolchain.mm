// Asks Python, through two callbacks, for descriptions and host code: text out, text back.
#include "metal/toolchain.h"

#include <sstream>
#include <stdexcept>

namespace soft {
namespace {

// Both answer through soft_answer and return whether they succeeded.
using Describe = int (*)(const void* bytes, std::size_t size);
using Translate = int (*)(std::uint64_t metallib, const char* kernel, const char* constants,
                          const char* variant);

Describe describe_callback = nullptr;
Translate translate_callback = nullptr;
thread_local std::string answer;

// The components, each behind a space.
std::string numbers_text(const metalgen::FunctionConstant& constant) {
  std::ostringstream text;
  text.precision(17);
  for (const metalgen::Scalar& component : constant.components)
    std::visit([&](auto value) { text << ' ' << value; }, component);
  return text.str();
}

void read_line(Metallib& metallib, Kernel*& kernel, const std::string& line) {
  std::istringstream words(line);
  std::string kind, name;
  words >> kind;
  if (kind == "metallib") words >> metallib.id;
  if (kind == "kernel") {
    words >> name;
    kernel = &metallib.kernels[name];
    words >> kernel->threadgroup_bytes >> kernel->max_threads;
  }
  if (kind == "buffer") {
    BufferArgument& buffer = kernel->buffers.emplace_back();
    words >> buffer.index >> buffer.needed >> buffer.alignment >> buffer.name;
  }
  if (kind == "threadgroup") words >> kernel->threadgroup_indices.emplace_back();
  if (kind == "constant") {
    ConstantArgument& constant = kernel->constants.emplace_back();
    words >> constant.index >> constant.type_name >> constant.name;
  }
}

}  // namespace

Metallib describe(const std::string& bytes) {
  if (!describe_callback(bytes.data(), bytes.size())) throw std::runtime_error(answer);
  Metallib metallib;
  Kernel* kernel = nullptr;
  std::istringstream lines(answer);
  for (std::string line; std::getline(lines, line);) read_line(metallib, kernel, line);
  return metallib;
}

metalgen::NativeCode translate(std::uint64_t metallib, const std::string& kernel,
                               std::span<const metalgen::FunctionConstant> constants,
                               metalgen::Variant variant) {
  std::string values;
  for (const auto& constant : constants)
    values += std::to_string(constant.index) + " " + constant.type_name +
              numbers_text(constant) + "\n";
  const char* name = variant == metalgen::Variant::kRows ? "rows" : "any";
  if (!translate_callback(metallib, kernel.c_str(), values.c_str(), name))
    throw std::runtime_error(answer);
  std::uint64_t address = 0;
  metalgen::NativeCode code{};
  std::istringstream(answer) >> address >> code.threadgroup_bytes;
  code.entry = reinterpret_cast<void (*)(metalgen::Threadgroup*)>(address);
  return code;
}

}  // namespace soft

extern "C" void soft_set_toolchain(soft::Describe describe, soft::Translate translate) {
  soft::describe_callback = describe;
  soft::translate_callback = translate;
}

extern "C" void soft_answer(const char* text) { soft::answer = text; }
