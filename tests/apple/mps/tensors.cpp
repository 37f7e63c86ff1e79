// An mps device for a torch that was built without one: tensors whose data pointer is an MTLBuffer.
//
// Operators finish the stream's work, then run on the cpu over the buffers' own memory.
#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstring>
#include <optional>

extern "C" {
void* soft_buffer(std::size_t bytes);
void soft_buffer_release(void* buffer);
void* soft_buffer_contents(void* buffer);
void soft_synchronize();
}

namespace {

using at::Device;
using at::IntArrayRef;
using at::MemoryFormat;
using at::Tensor;

const Device kDevice(c10::DeviceType::MPS, 0);
const c10::DispatchKeySet kKeys(c10::DispatchKey::MPS);

// Without elements there is no buffer, as on macOS.
struct Allocator final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    void* const buffer = bytes ? soft_buffer(bytes) : nullptr;
    return {buffer, buffer, buffer ? &soft_buffer_release : &c10::detail::deleteNothing, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &soft_buffer_release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    soft_synchronize();
    std::memcpy(soft_buffer_contents(to), soft_buffer_contents(const_cast<void*>(from)), bytes);
  }
};

Allocator& allocator() {
  static Allocator allocator;
  return allocator;
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::MPS; }
  Device exchangeDevice(Device) const override { return kDevice; }
  Device getDevice() const override { return kDevice; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  c10::Stream getStream(Device) const override {
    return c10::Stream(c10::Stream::DEFAULT, kDevice);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(MPS, Guard)

// The same elements as a cpu tensor, once the stream has written them.
Tensor on_host(const Tensor& tensor) {
  if (!tensor.is_mps()) return tensor;
  soft_synchronize();
  void* const buffer = tensor.storage().mutable_data();
  auto* bytes = static_cast<char*>(buffer ? soft_buffer_contents(buffer) : nullptr);
  if (bytes) bytes += tensor.storage_offset() * tensor.element_size();
  return at::from_blob(bytes, tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}

Tensor empty(IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<Device>, std::optional<bool>, std::optional<MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &allocator(), kKeys, c10::dtype_or_default(dtype),
                                   format);
}

Tensor empty_strided(IntArrayRef sizes, IntArrayRef strides, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &allocator(), kKeys,
                                           c10::dtype_or_default(dtype));
}

Tensor& copy_(Tensor& self, const Tensor& source, bool) {
  on_host(self).copy_(on_host(source));
  return self;
}

Tensor copy_from(const Tensor& source, const Tensor& to, bool) {
  on_host(to).copy_(on_host(source));
  return to;
}

const Tensor& resize_(const Tensor& self, IntArrayRef sizes, std::optional<MemoryFormat>) {
  const std::size_t bytes = c10::multiply_integers(sizes) * self.element_size();
  c10::StorageImpl* const storage = self.storage().unsafeGetStorageImpl();
  if (bytes > storage->nbytes()) {
    c10::DataPtr grown = allocator().allocate(bytes);
    if (storage->nbytes())
      allocator().copy_data(grown.get(), storage->mutable_data(), storage->nbytes());
    storage->set_data_ptr(std::move(grown));
    storage->set_nbytes(bytes);
  }
  self.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return self;
}

Tensor copy_from_and_resize(const Tensor& source, const Tensor& to) {
  to.resize_(source.sizes());
  on_host(to).copy_(on_host(source));
  return to;
}

Tensor& fill_(Tensor& self, const at::Scalar& value) {
  on_host(self).fill_(value);
  return self;
}

Tensor as_strided(const Tensor& self, IntArrayRef sizes, IntArrayRef strides,
                  std::optional<std::int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, sizes, strides, offset);
}

TORCH_LIBRARY_IMPL(aten, MPS, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("copy_", copy_);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("resize_", resize_);
  library.impl("fill_.Scalar", fill_);
  library.impl("as_strided", as_strided);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
}

void on_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  at::native::cpu_fallback(operation, stack);
}

TORCH_LIBRARY_IMPL(_, MPS, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
}

}  // namespace
