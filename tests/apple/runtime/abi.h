// Objective-C's metadata as clang lays it out for macOS, and what the runtime keeps beside it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace objc {

struct Class;
struct Object {
  Class* isa;
};
using Selector = const char*;  // unique: equal selectors are equal pointers
using Implementation = void (*)();

struct Method {
  Selector name;
  const char* types;
  Implementation implementation;
};

struct MethodList {
  std::uint32_t entry_size;
  std::uint32_t count;
  Method methods[];
};

constexpr std::uint32_t kMetaclass = 1;

struct ClassData {
  std::uint32_t flags, instance_start, instance_size, reserved;
  const std::uint8_t* ivar_layout;
  const char* name;
  MethodList* methods;
  void *protocols, *ivars, *weak_layout, *properties;
};

struct Methods;

struct Class {
  Class* isa;
  Class* super;
  Methods* methods;  // objc4 keeps its cache here; clang leaves the address of _objc_empty_cache
  void* vtable;
  ClassData* data;

  bool is_metaclass() const { return data->flags & kMetaclass; }
};

// Ends the process with `format`, as macOS does when a program breaks the runtime's rules.
[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...);

Implementation method_of(Class* type, Selector selector);
void count_live(const char* name, int change);

}  // namespace objc
