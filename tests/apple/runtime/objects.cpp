// Objects: reference counts, autorelease pools, and a count of what is alive.
//
// Dead objects are never freed (as with NSZombieEnabled), so every later use of one is caught.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "abi.h"

using namespace objc;

extern "C" {
Selector sel_registerName(const char* name);
Implementation objc_find_method(Object* receiver, Selector selector);
void* _Block_copy(const void* block);
void _Block_release(const void* block);
extern void* _NSConcreteStackBlock[32];
extern void* _NSConcreteGlobalBlock[32];
extern void* _NSConcreteMallocBlock[32];
extern Class objc_constant_string asm("OBJC_CLASS_$_NSConstantString");
}

namespace {

// Lies before every object.
struct Header {
  std::atomic<long> references;
  long padding;
};

Header* header_of(Object* object) { return reinterpret_cast<Header*>(object) - 1; }

struct Census {
  std::mutex mutex;
  std::map<std::string, long> live;
};

Census& census() {
  static auto& census = *new Census;
  return census;
}

std::atomic<long> autoreleased_without_pool{0};

struct Pools {
  std::vector<Object*> objects;
  long depth = 0;
};

Pools& pools() {
  thread_local Pools pools;
  return pools;
}

bool is_block(Object* object) {
  void* const isa = object->isa;
  return isa == _NSConcreteStackBlock || isa == _NSConcreteGlobalBlock ||
         isa == _NSConcreteMallocBlock;
}

bool is_immortal(Object* object) {
  return object->isa && (object->isa == &objc_constant_string || object->isa->is_metaclass());
}

void check_alive(Object* object, const char* what) {
  if (!object->isa) fail("%s of deallocated instance %p", what, static_cast<void*>(object));
}

// Runs `name` of every class that has it: superclasses first, or last.
void run_for_all(Object* object, const char* name, bool superclasses_first) {
  std::vector<Class*> chain;
  for (Class* type = object->isa; type; type = type->super)
    if (type->data->methods) chain.push_back(type);
  if (superclasses_first) chain = {chain.rbegin(), chain.rend()};
  const Selector selector = sel_registerName(name);
  for (Class* type : chain) {
    const Implementation own = method_of(type, selector);
    const Implementation inherited = type->super ? method_of(type->super, selector) : nullptr;
    if (own && own != inherited)
      reinterpret_cast<void (*)(Object*, Selector)>(own)(object, selector);
  }
}

Object* send(Object* receiver, const char* name) {
  if (!receiver) return nullptr;
  const Selector selector = sel_registerName(name);
  const Implementation method = objc_find_method(receiver, selector);
  return reinterpret_cast<Object* (*)(Object*, Selector)>(method)(receiver, selector);
}

}  // namespace

void objc::count_live(const char* name, int change) {
  const std::lock_guard lock(census().mutex);
  census().live[name] += change;
}

extern "C" {

// Tests: how many instances of a class are alive, and what was autoreleased with no pool in place.
long objc_live_instances(const char* class_name) {
  const std::lock_guard lock(census().mutex);
  return census().live[class_name];
}
long objc_autoreleased_without_pool() { return autoreleased_without_pool; }

Object* class_createInstance(Class* type, std::size_t extra) {
  void* memory = std::calloc(1, sizeof(Header) + type->data->instance_size + extra);
  auto* header = new (memory) Header{{1}, 0};
  auto* object = reinterpret_cast<Object*>(header + 1);
  object->isa = type;
  count_live(type->data->name, 1);
  run_for_all(object, ".cxx_construct", true);
  return object;
}

void object_dispose(Object* object) {
  run_for_all(object, ".cxx_destruct", false);
  count_live(object->isa->data->name, -1);
  object->isa = nullptr;
}

Object* objc_retain(Object* object) {
  if (!object) return nullptr;
  if (is_block(object)) return static_cast<Object*>(_Block_copy(object));
  check_alive(object, "retain");
  if (!is_immortal(object)) ++header_of(object)->references;
  return object;
}

void objc_release(Object* object) {
  if (!object) return;
  if (is_block(object)) return _Block_release(object);
  check_alive(object, "release");
  if (is_immortal(object)) return;
  if (--header_of(object)->references == 0) send(object, "dealloc");
}

void* objc_autoreleasePoolPush() {
  ++pools().depth;
  pools().objects.push_back(nullptr);
  return reinterpret_cast<void*>(pools().objects.size());
}

void objc_autoreleasePoolPop(void* token) {
  const std::size_t size = reinterpret_cast<std::size_t>(token) - 1;
  while (pools().objects.size() > size) {
    Object* const object = pools().objects.back();
    pools().objects.pop_back();
    objc_release(object);
  }
  --pools().depth;
}

Object* objc_autorelease(Object* object) {
  if (!object) return nullptr;
  if (pools().depth == 0) ++autoreleased_without_pool;  // and leaks, as on macOS
  pools().objects.push_back(object);
  return object;
}

Object* objc_retainAutorelease(Object* object) { return objc_autorelease(objc_retain(object)); }
Object* objc_autoreleaseReturnValue(Object* object) { return objc_autorelease(object); }
Object* objc_retainAutoreleaseReturnValue(Object* object) { return objc_retainAutorelease(object); }
Object* objc_retainAutoreleasedReturnValue(Object* object) { return objc_retain(object); }
Object* objc_claimAutoreleasedReturnValue(Object* object) { return objc_retain(object); }
Object* objc_unsafeClaimAutoreleasedReturnValue(Object* object) { return object; }
Object* objc_retainBlock(Object* block) { return static_cast<Object*>(_Block_copy(block)); }

void objc_storeStrong(Object** place, Object* object) {
  Object* const old = *place;
  if (old == object) return;
  *place = objc_retain(object);
  objc_release(old);
}

Object* objc_alloc(Class* type) { return send(reinterpret_cast<Object*>(type), "alloc"); }
Object* objc_alloc_init(Class* type) { return send(objc_alloc(type), "init"); }
Object* objc_opt_new(Class* type) { return objc_alloc_init(type); }
Object* objc_opt_self(Object* object) { return object; }
Class* objc_opt_class(Object* object) { return object ? object->isa : nullptr; }

Object* objc_getProperty(Object* object, Selector, std::ptrdiff_t offset, bool) {
  return objc_retainAutorelease(
      *reinterpret_cast<Object**>(reinterpret_cast<char*>(object) + offset));
}
}
