// Libraries, functions with their constants, and pipelines, with Metal's own words for refusals.
#include "metal/objects.h"

#include "../foundation.h"
#include "metal/validation.h"

namespace {

NSString* const kLibraryDomain = @"MTLLibraryErrorDomain";

struct Constant {
  MTLDataType type;
  std::array<std::byte, 32> bytes;
};

// A scalar; the types of two, three and four components follow it, three in the room of four.
struct NamedType {
  MTLDataType type;
  const char* name;
  std::size_t size;
};

constexpr NamedType kTypes[] = {
    {MTLDataTypeBool, "bool", 1},   {MTLDataTypeFloat, "float", 4},
    {MTLDataTypeHalf, "half", 2},   {MTLDataTypeInt, "int", 4},
    {MTLDataTypeUInt, "uint", 4},   {MTLDataTypeShort, "short", 2},
    {MTLDataTypeUShort, "ushort", 2}, {MTLDataTypeChar, "char", 1},
    {MTLDataTypeUChar, "uchar", 1}, {MTLDataTypeLong, "long", 8},
    {MTLDataTypeULong, "ulong", 8},
};

const NamedType* named(MTLDataType type) {
  for (const NamedType& known : kTypes)
    if (known.type <= type && type < known.type + 4) return &known;
  return nullptr;
}

NSUInteger component_count(MTLDataType type) { return type - named(type)->type + 1; }

std::string name_of(MTLDataType type) {
  const NSUInteger count = component_count(type);
  return named(type)->name + (count == 1 ? "" : std::to_string(count));
}

template <typename T>
T read(const std::byte* bytes) {
  T value;
  __builtin_memcpy(&value, bytes, sizeof value);
  return value;
}

metalgen::Scalar scalar_at(MTLDataType type, const std::byte* bytes) {
  switch (type) {
    case MTLDataTypeBool: return read<bool>(bytes);
    case MTLDataTypeFloat: return double{read<float>(bytes)};
    case MTLDataTypeHalf: return static_cast<double>(read<_Float16>(bytes));
    case MTLDataTypeInt: return std::int64_t{read<std::int32_t>(bytes)};
    case MTLDataTypeShort: return std::int64_t{read<std::int16_t>(bytes)};
    case MTLDataTypeChar: return std::int64_t{read<std::int8_t>(bytes)};
    case MTLDataTypeLong: return read<std::int64_t>(bytes);
    case MTLDataTypeUInt: return std::uint64_t{read<std::uint32_t>(bytes)};
    case MTLDataTypeUShort: return std::uint64_t{read<std::uint16_t>(bytes)};
    case MTLDataTypeUChar: return std::uint64_t{read<std::uint8_t>(bytes)};
    default: return read<std::uint64_t>(bytes);
  }
}

std::vector<metalgen::Scalar> components_of(const Constant& constant) {
  const NamedType& scalar = *named(constant.type);
  std::vector<metalgen::Scalar> components;
  for (NSUInteger i = 0; i < component_count(constant.type); ++i)
    components.push_back(scalar_at(scalar.type, constant.bytes.data() + i * scalar.size));
  return components;
}

}  // namespace

@interface MTLFunctionConstantValues () {
 @public
  std::map<NSUInteger, Constant> values;
}
@end

@implementation MTLFunctionConstantValues
- (void)setConstantValue:(const void*)value type:(MTLDataType)type atIndex:(NSUInteger)index {
  const char* method = "-[MTLFunctionConstantValues setConstantValue:type:atIndex:]";
  const NamedType* known = named(type);
  validate(known != nullptr, method, "type is not a type of function constants");
  validate(index < 65536, method, "index must be below 65536");
  Constant& constant = values[index];
  constant.type = type;
  __builtin_memcpy(constant.bytes.data(), value, known->size * component_count(type));
}
@end

namespace {

// Why the constants given do not fit the kernel's; empty if they do.
std::string refusal(const soft::Kernel& kernel, const std::string& name,
                    MTLFunctionConstantValues* given) {
  for (const soft::ConstantArgument& wanted : kernel.constants) {
    const auto found = given->values.find(wanted.index);
    if (found == given->values.end())
      return "function " + name + " has no value for function constant " + wanted.name + " (" +
             std::to_string(wanted.index) + ")";
    if (name_of(found->second.type) != wanted.type_name)
      return "function constant " + wanted.name + " is of type " + wanted.type_name +
             ", the value given is a " + name_of(found->second.type);
  }
  return "";
}

}  // namespace

@implementation SoftFunction
- (NSString*)name {
  return [NSString stringWithUTF8String:name_.c_str()];
}
@end

@implementation SoftLibrary
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (NSArray<NSString*>*)functionNames {
  std::vector<std::string> names;
  for (const auto& [name, kernel] : metallib.kernels) names.push_back(name);
  return soft_array(names);
}
- (id<MTLFunction>)newFunctionWithName:(NSString*)name {
  validate(name != nil, "-[MTLLibrary newFunctionWithName:]", "functionName must not be nil");
  const auto found = metallib.kernels.find(name.UTF8String);
  if (found == metallib.kernels.end()) return nil;
  SoftFunction* function = [SoftFunction new];
  function->name_ = found->first;
  function->kernel = found->second;
  function->metallib = metallib.id;
  function->needs_constants = !found->second.constants.empty();
  return function;
}
- (id<MTLFunction>)newFunctionWithName:(NSString*)name
                        constantValues:(MTLFunctionConstantValues*)values
                                 error:(NSError* __autoreleasing*)error {
  validate(values != nil, "-[MTLLibrary newFunctionWithName:constantValues:error:]",
           "constantValues must not be nil");
  SoftFunction* function = (SoftFunction*)[self newFunctionWithName:name];
  if (function == nil) {
    if (error)
      *error = soft_error(
          kLibraryDomain, 5,
          std::string("Function ") + name.UTF8String + " was not found in the library");
    return nil;
  }
  const std::string why = refusal(function->kernel, function->name_, values);
  if (!why.empty()) {
    if (error) *error = soft_error(kLibraryDomain, 3, why);
    return nil;
  }
  for (const soft::ConstantArgument& wanted : function->kernel.constants)
    function->constants.push_back(
        {wanted.index, wanted.type_name, components_of(values->values[wanted.index])});
  function->needs_constants = false;
  return function;
}
@end

@implementation SoftPipeline
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return function->kernel.max_threads;
}
- (NSUInteger)threadExecutionWidth {
  return metalgen::kSimdWidth;
}
- (NSUInteger)staticThreadgroupMemoryLength {
  return function->kernel.threadgroup_bytes;
}
@end
