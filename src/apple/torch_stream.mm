// Looks up the functions of torch's MPS stream in torch's library.
#include "apple/torch_stream.h"

#include <dlfcn.h>

#include "errors.h"

namespace metalgen {
namespace {

template <typename Function>
void find(void* library, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, symbol));
  if (!function) throw ToolchainError(std::string("this torch has no MPS stream: no ") + symbol);
}

}  // namespace

TorchStream TorchStream::of(const std::string& path) {
  // Already loaded by `import torch`; the handle is kept for the life of the process.
  void* library = dlopen(path.c_str(), RTLD_LAZY);
  if (!library) throw ToolchainError("cannot open " + path + ": " + dlerror());
  TorchStream stream{};
  find(library, "_ZN5torch3mps18get_dispatch_queueEv", stream.queue_);
  find(library, "_ZN2at3mps19getCurrentMPSStreamEv", stream.stream_);
  find(library, "_ZN2at3mps9MPSStream14commandEncoderEv", stream.command_encoder_);
  find(library, "_ZN2at3mps9MPSStream19endKernelCoalescingEv", stream.end_kernel_coalescing_);
  find(library, "_ZN5torch3mps18get_command_bufferEv", stream.command_buffer_);
  find(library, "_ZN5torch3mps11synchronizeEv", stream.synchronize_);
  return stream;
}

}  // namespace metalgen
