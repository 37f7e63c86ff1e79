// Apple's GPU: dispatches are encoded on torch's own MPS stream, in order with torch's operators.
//
// An mps tensor's data pointer is its MTLBuffer; handles here are such pointers, not owned.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "apple/apple_device.h"
#include "apple/apple_pipeline.h"
#include "apple/text.h"
#include "errors.h"

namespace metalgen {
namespace {

// Of Apple silicon: what memory that is shared without copying must consist of.
constexpr std::size_t kPageBytes = 16384;

// From Apple7 (M1) on; more than there are, for those to come.
constexpr NSInteger kAppleFamilies = 10;

class AppleBuffer final : public Buffer {
 public:
  AppleBuffer(id<MTLBuffer> buffer, std::size_t size) : buffer_(buffer), size_(size) {}

  std::uintptr_t handle() const override {
    return reinterpret_cast<std::uintptr_t>((__bridge void*)buffer_);
  }
  std::span<std::byte> bytes() const override {
    return {static_cast<std::byte*>(buffer_.contents), size_};
  }

 private:
  const id<MTLBuffer> buffer_;
  const std::size_t size_;
};

// Metal reads the components from memory; the types of two, three and four follow their scalar's.
template <typename T>
void set_components(MTLFunctionConstantValues* values, const FunctionConstant& constant,
                    MTLDataType scalar) {
  std::array<T, 4> components{};
  for (std::size_t i = 0; i < constant.components.size(); ++i)
    components.at(i) = std::visit([](auto value) { return static_cast<T>(value); },
                                  constant.components[i]);
  [values setConstantValue:components.data()
                      type:static_cast<MTLDataType>(scalar + constant.components.size() - 1)
                   atIndex:constant.index];
}

void set_constant(MTLFunctionConstantValues* values, const FunctionConstant& constant) {
  const std::string& type = constant.type_name;
  const std::string scalar = type.substr(0, type.find_last_not_of("234") + 1);
  if (scalar == "bool") set_components<bool>(values, constant, MTLDataTypeBool);
  else if (scalar == "float") set_components<float>(values, constant, MTLDataTypeFloat);
  else if (scalar == "half") set_components<_Float16>(values, constant, MTLDataTypeHalf);
  else if (scalar == "int") set_components<std::int32_t>(values, constant, MTLDataTypeInt);
  else if (scalar == "uint") set_components<std::uint32_t>(values, constant, MTLDataTypeUInt);
  else if (scalar == "short") set_components<std::int16_t>(values, constant, MTLDataTypeShort);
  else if (scalar == "ushort") set_components<std::uint16_t>(values, constant, MTLDataTypeUShort);
  else if (scalar == "char") set_components<std::int8_t>(values, constant, MTLDataTypeChar);
  else if (scalar == "uchar") set_components<std::uint8_t>(values, constant, MTLDataTypeUChar);
  else if (scalar == "long") set_components<std::int64_t>(values, constant, MTLDataTypeLong);
  else if (scalar == "ulong") set_components<std::uint64_t>(values, constant, MTLDataTypeULong);
  else throw LaunchError("function constants of type " + type + " cannot be set");
}

// Retained, as it is made outside any autorelease pool: an unknown type throws.
NS_RETURNS_RETAINED MTLFunctionConstantValues* values_of(
    std::span<const FunctionConstant> constants) {
  MTLFunctionConstantValues* values = [MTLFunctionConstantValues new];
  for (const FunctionConstant& constant : constants) set_constant(values, constant);
  return values;
}

class AppleLibrary final : public Library {
 public:
  AppleLibrary(id<MTLLibrary> library, std::shared_ptr<const AppleStream> stream)
      : library_(library), stream_(std::move(stream)) {}

  std::shared_ptr<Pipeline> pipeline(std::string_view kernel,
                                     std::vector<FunctionConstant> constants) override {
    Key key{std::string(kernel), {}};
    for (const FunctionConstant& constant : constants)
      key.second.emplace_back(constant.index, constant.components);
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Pipeline>& pipeline = pipelines_[key];
    if (!pipeline) pipeline = make_pipeline(kernel, constants);
    return pipeline;
  }

 private:
  using Key = std::pair<std::string,
                        std::vector<std::pair<std::uint32_t, decltype(FunctionConstant::components)>>>;

  std::shared_ptr<Pipeline> make_pipeline(std::string_view kernel,
                                          std::span<const FunctionConstant> constants) {
    MTLFunctionConstantValues* values = values_of(constants);
    std::string reason;  // thrown outside the pool, which must not be unwound through
    id<MTLComputePipelineState> state = nil;
    @autoreleasepool {
      NSError* error = nil;
      id<MTLFunction> function = [library_ newFunctionWithName:string_of(kernel)
                                                constantValues:values
                                                         error:&error];
      if (function != nil)
        state = [library_.device newComputePipelineStateWithFunction:function error:&error];
      if (state == nil) reason = text_of(error);
    }
    if (state == nil) throw LaunchError(reason);
    return std::make_shared<ApplePipeline>(state, stream_);
  }

  const id<MTLLibrary> library_;
  const std::shared_ptr<const AppleStream> stream_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<Pipeline>> pipelines_;
};

class AppleDevice final : public Device {
 public:
  AppleDevice(id<MTLDevice> device, TorchStream stream)
      : device_(device), stream_(std::make_shared<const AppleStream>(AppleStream{stream})) {}

  std::string name() const override {
    @autoreleasepool {
      return device_.name.UTF8String;
    }
  }

  std::string family() const override {
    std::string text = "below Apple7";
    for (NSInteger generation = 0; generation < kAppleFamilies; ++generation)
      if ([device_ supportsFamily:MTLGPUFamilyApple7 + generation])
        text = "Apple" + std::to_string(7 + generation);
    if ([device_ supportsFamily:MTLGPUFamilyMetal4]) return text + ", Metal 4";
    if ([device_ supportsFamily:MTLGPUFamilyMetal3]) return text + ", Metal 3";
    return text;
  }

  std::unique_ptr<Buffer> wrap(std::span<std::byte> bytes) override {
    // Checked here, for Metal's validation layer ends the process.
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    if (bytes.empty() || address % kPageBytes != 0 || bytes.size() % kPageBytes != 0)
      throw LaunchError("expected whole pages of 16 KiB to share with the GPU, found " +
                        std::to_string(bytes.size()) + " bytes at " + std::to_string(address));
    id<MTLBuffer> buffer = [device_ newBufferWithBytesNoCopy:bytes.data()
                                                      length:bytes.size()
                                                     options:MTLResourceStorageModeShared
                                                 deallocator:nil];
    if (buffer == nil)
      throw LaunchError("Metal cannot share " + std::to_string(bytes.size()) + " bytes");
    return std::make_unique<AppleBuffer>(buffer, bytes.size());
  }

  std::unique_ptr<Buffer> allocate(std::size_t bytes) override {
    // Metal has no buffers of length 0.
    id<MTLBuffer> buffer = [device_ newBufferWithLength:std::max<std::size_t>(bytes, 1)
                                                options:MTLResourceStorageModeShared];
    if (buffer == nil) throw LaunchError("no memory for " + std::to_string(bytes) + " bytes");
    return std::make_unique<AppleBuffer>(buffer, bytes);
  }

  std::shared_ptr<Library> load(std::span<const std::byte> metallib, Translator) override {
    std::string reason;
    id<MTLLibrary> library = nil;
    @autoreleasepool {
      dispatch_data_t data = dispatch_data_create(metallib.data(), metallib.size(), nullptr,
                                                  DISPATCH_DATA_DESTRUCTOR_DEFAULT);
      NSError* error = nil;
      library = [device_ newLibraryWithData:data error:&error];
      if (library == nil) reason = text_of(error);
    }
    if (library == nil) throw ToolchainError("Metal refused the metallib: " + reason);
    return std::make_shared<AppleLibrary>(library, stream_);
  }

  void run(std::span<const Launch> launches) override { stream_->encode(launches); }

  void synchronize() override { finish(); }

  Interval time(const std::function<void()>& work) override {
    finish();
    work();
    return finish();
  }

 private:
  // Waits for the GPU and hears how it went.
  Interval finish() {
    dispatch_sync(stream_->torch.queue(), ^{
      @autoreleasepool {
        stream_->report->follow(stream_->torch.command_buffer());
      }
    });
    stream_->torch.synchronize();
    return stream_->report->wait();
  }

  const id<MTLDevice> device_;
  const std::shared_ptr<const AppleStream> stream_;
};

}  // namespace

bool has_apple_device() {
  @autoreleasepool {
    return MTLCreateSystemDefaultDevice() != nil;
  }
}

std::unique_ptr<Device> make_apple_device(const std::string& torch_library) {
  id<MTLDevice> device = nil;
  @autoreleasepool {
    device = MTLCreateSystemDefaultDevice();
  }
  if (device == nil) throw ToolchainError("this Mac has no GPU that Metal can use");
  return std::make_unique<AppleDevice>(device, TorchStream::of(torch_library));
}

}  // namespace metalgen
