// Apple's GPU: dispatches are encoded on torch's own MPS stream, in order with torch's operators.
//
// An mps tensor's data pointer is its MTLBuffer; handles here are such pointers, not owned.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

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

// Sets one constant; Metal reads the value from memory in the constant's own type.
void set_constant(MTLFunctionConstantValues* values, const FunctionConstant& constant) {
  const auto set = [&](auto value, MTLDataType type) {
    [values setConstantValue:&value type:type atIndex:constant.index];
  };
  std::visit(
      [&](auto value) {
        const std::string& type = constant.type_name;
        if (type == "bool") set(static_cast<bool>(value), MTLDataTypeBool);
        else if (type == "float") set(static_cast<float>(value), MTLDataTypeFloat);
        else if (type == "half") set(static_cast<_Float16>(value), MTLDataTypeHalf);
        else if (type == "int") set(static_cast<std::int32_t>(value), MTLDataTypeInt);
        else if (type == "uint") set(static_cast<std::uint32_t>(value), MTLDataTypeUInt);
        else if (type == "short") set(static_cast<std::int16_t>(value), MTLDataTypeShort);
        else if (type == "ushort") set(static_cast<std::uint16_t>(value), MTLDataTypeUShort);
        else if (type == "char") set(static_cast<std::int8_t>(value), MTLDataTypeChar);
        else if (type == "uchar") set(static_cast<std::uint8_t>(value), MTLDataTypeUChar);
        else if (type == "long") set(static_cast<std::int64_t>(value), MTLDataTypeLong);
        else if (type == "ulong") set(static_cast<std::uint64_t>(value), MTLDataTypeULong);
        else throw LaunchError("function constants of type " + type + " cannot be set");
      },
      constant.value);
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
      key.second.emplace_back(constant.index, constant.value);
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Pipeline>& pipeline = pipelines_[key];
    if (!pipeline) pipeline = make_pipeline(kernel, constants);
    return pipeline;
  }

 private:
  using Key = std::pair<std::string,
                        std::vector<std::pair<std::uint32_t, decltype(FunctionConstant::value)>>>;

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
