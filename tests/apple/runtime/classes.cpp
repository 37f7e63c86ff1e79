// Classes, selectors and method lookup of a small Objective-C runtime for ELF.
//
// It speaks clang's -fobjc-runtime=macosx, so the Apple backend runs on Linux as it is compiled for
// macOS. Not in it: exceptions, forwarding, categories, weak references.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "abi.h"

namespace objc {

// A class's own methods and, once asked for, its inherited ones.
struct Methods {
  std::unordered_map<Selector, Implementation> own;
  std::unordered_map<Selector, Implementation> found;
};

namespace {

// Never destroyed: images register before this file's constructors run, objects die after them.
struct Registry {
  std::recursive_mutex mutex;
  std::shared_mutex found_mutex;
  std::unordered_set<std::string> selectors;
  std::unordered_map<std::string, Class*> classes;
};

Registry& registry() {
  static auto& registry = *new Registry;
  return registry;
}

Selector intern(const char* name) {
  const std::lock_guard lock(registry().mutex);
  return registry().selectors.insert(name).first->c_str();
}

void prepare(Class* type) {
  type->methods = new Methods;
  MethodList* const list = type->data->methods;
  if (!list) return;
  const std::size_t stride = list->entry_size & ~3u;
  for (std::uint32_t i = 0; i < list->count; ++i) {
    auto* method = reinterpret_cast<Method*>(reinterpret_cast<char*>(list->methods) + i * stride);
    method->name = intern(method->name);
    type->methods->own[method->name] = method->implementation;
  }
}

Implementation search(Class* type, Selector selector) {
  for (Class* at = type; at; at = at->super) {
    const auto own = at->methods->own.find(selector);
    if (own != at->methods->own.end()) return own->second;
  }
  return nullptr;
}

Implementation require(Class* type, Selector selector) {
  const Implementation found = method_of(type, selector);
  if (!found)
    fail("%c[%s %s]: unrecognized selector", type->is_metaclass() ? '+' : '-', type->data->name,
         selector);
  return found;
}

}  // namespace

void fail(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::fputs("objc: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputc('\n', stderr);
  va_end(arguments);
  std::abort();
}

Implementation method_of(Class* type, Selector selector) {
  Registry& known = registry();
  {
    const std::shared_lock lock(known.found_mutex);
    const auto found = type->methods->found.find(selector);
    if (found != type->methods->found.end()) return found->second;
  }
  const Implementation found = search(type, selector);
  if (!found) return nullptr;
  const std::unique_lock lock(known.found_mutex);
  type->methods->found[selector] = found;
  return found;
}

}  // namespace objc

using namespace objc;

extern "C" {

char _objc_empty_cache[16];

Selector sel_registerName(const char* name) { return intern(name); }

// Called by the code that message.S calls for every message.
Implementation objc_find_method(Object* receiver, Selector selector) {
  if (!receiver->isa)
    fail("message %s sent to deallocated instance %p", selector, static_cast<void*>(receiver));
  return require(receiver->isa, selector);
}

// `super` is a receiver and the class whose superclass is meant.
Implementation objc_find_super_method(Object** super, Selector selector) {
  return require(reinterpret_cast<Class*>(super[1])->super, selector);
}

// Called by every shared object's constructor with the bounds of its sections.
void objc_register_image(Class** classes, Class** classes_end, Selector* selectors,
                         Selector* selectors_end) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  for (Selector* selector = selectors; selector < selectors_end; ++selector)
    *selector = intern(*selector);
  for (Class** type = classes; type < classes_end; ++type) {
    prepare(*type);
    prepare((*type)->isa);
    if (!known.classes.emplace((*type)->data->name, *type).second)
      fail("class %s is implemented twice", (*type)->data->name);
  }
}
}
