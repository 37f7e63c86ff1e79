// The device: memory, libraries, pipelines. Kernels run on metalgen's software device.
#include "metal/objects.h"

#include <cstdlib>
#include <stdexcept>

#include "../dispatch.h"
#include "../foundation.h"
#include "metal/validation.h"
#include "software/software_device.h"

id<MTLCommandQueue> soft_command_queue();

namespace {

constexpr std::size_t kPage = 16384;  // on Apple silicon

SoftBuffer* buffer_of(void* bytes, std::size_t size, bool owned) {
  SoftBuffer* buffer = [SoftBuffer new];
  buffer->bytes = static_cast<std::byte*>(bytes);
  buffer->size = size;
  buffer->owned = owned;
  return buffer;
}

// Both variants at once: the GPU's thread must never wait for Python.
std::shared_ptr<metalgen::Pipeline> native_pipeline(SoftFunction* function) {
  const auto any = soft::translate(function->metallib, function->name_, function->constants,
                                   metalgen::Variant::kAny);
  const auto rows = soft::translate(function->metallib, function->name_, function->constants,
                                    metalgen::Variant::kRows);
  const auto translator = [=](auto, auto, metalgen::Variant variant, auto) {
    return variant == metalgen::Variant::kRows ? rows : any;
  };
  const auto library = soft::software_device().load({}, translator);
  return library->pipeline(function->name_, function->constants);
}

}  // namespace

metalgen::Device& soft::software_device() {
  static auto& device = *metalgen::make_software_device(2).release();
  return device;
}

@implementation SoftBuffer
- (NSUInteger)length {
  return size;
}
- (void*)contents {
  return bytes;
}
- (void)dealloc {
  if (owned) std::free(bytes);
}
@end

@interface SoftDevice : NSObject <MTLDevice>
@end

@implementation SoftDevice
- (NSString*)name {
  return @"Software Metal";
}
- (NSUInteger)maxThreadgroupMemoryLength {
  return soft::kThreadgroupMemory;
}
- (BOOL)supportsFamily:(MTLGPUFamily)gpuFamily {
  return gpuFamily <= 1009 || gpuFamily == MTLGPUFamilyMetal3;  // an M3
}
- (id<MTLCommandQueue>)newCommandQueue {
  return soft_command_queue();
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
  validate(length > 0, "-[MTLDebugDevice newBufferWithLength:options:]",
           "Cannot create buffer of zero length.");
  void* bytes = std::aligned_alloc(kPage, (length + kPage - 1) / kPage * kPage);
  if (bytes) __builtin_memset(bytes, 0, length);
  return bytes ? buffer_of(bytes, length, true) : nil;
}
- (id<MTLBuffer>)newBufferWithBytes:(const void*)pointer
                             length:(NSUInteger)length
                            options:(MTLResourceOptions)options {
  id<MTLBuffer> buffer = [self newBufferWithLength:length options:options];
  __builtin_memcpy(buffer.contents, pointer, length);
  return buffer;
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void*)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void*, NSUInteger))deallocator {
  const char* method = "-[MTLDebugDevice newBufferWithBytesNoCopy:length:options:deallocator:]";
  validate(reinterpret_cast<std::uintptr_t>(pointer) % kPage == 0, method,
           "pointer is not 16384 byte aligned.");
  validate(length > 0 && length % kPage == 0, method, "length is not 16384 byte aligned.");
  validate(deallocator == nil, method, "deallocators are not known here");
  return buffer_of(pointer, length, false);
}
- (id<MTLLibrary>)newLibraryWithData:(dispatch_data_t)data error:(NSError* __autoreleasing*)error {
  validate(data != nil, "-[MTLDebugDevice newLibraryWithData:error:]", "data must not be nil.");
  try {
    SoftLibrary* library = [SoftLibrary new];
    library->metallib = soft::describe(bytes_of(data));
    return library;
  } catch (const std::runtime_error& why) {
    if (error)
      *error = soft_error(@"MTLLibraryErrorDomain", 1,
                          std::string("Invalid library file: ") + why.what());
    return nil;
  }
}
- (id<MTLComputePipelineState>)
    newComputePipelineStateWithFunction:(id<MTLFunction>)handle
                                  error:(NSError* __autoreleasing*)error {
  const char* method = "-[MTLDebugDevice newComputePipelineStateWithFunction:error:]";
  validate(handle != nil, method, "computeFunction must not be nil.");
  SoftFunction* function = (SoftFunction*)handle;
  validate(!function->needs_constants, method, "function constants are not set.");
  try {
    SoftPipeline* pipeline = [SoftPipeline new];
    pipeline->function = function;
    pipeline->native = native_pipeline(function);
    return pipeline;
  } catch (const std::runtime_error& why) {
    if (error)
      *error = soft_error(@"AGXMetalSoftware", 3,
                          std::string("Compiler encountered an internal error: ") + why.what());
    return nil;
  }
}
@end

id<MTLDevice> MTLCreateSystemDefaultDevice() {
  static SoftDevice* device = [SoftDevice new];
  return device;
}
