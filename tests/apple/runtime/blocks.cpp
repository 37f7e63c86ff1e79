// Blocks: copied to the heap when kept, counted, with what they capture.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "abi.h"

using namespace objc;

extern "C" {
Object* objc_retain(Object* object);
void objc_release(Object* object);
void* _NSConcreteStackBlock[32];
void* _NSConcreteGlobalBlock[32];
void* _NSConcreteMallocBlock[32];
}

namespace {

enum Flags : int { kNeedsFree = 1 << 24, kHasHelpers = 1 << 25, kGlobal = 1 << 28 };

// What a captured variable is, as clang tells the helpers below.
enum Field : int { kObject = 3, kBlock = 7, kVariable = 8, kCalledByVariable = 128 };

struct Descriptor {
  unsigned long reserved, size;
  void (*copy)(void* to, const void* from);
  void (*dispose)(const void* block);
};

struct Block {
  void* isa;
  int flags;
  int references;
  void (*invoke)();
  Descriptor* descriptor;
};

// A __block variable; `references` takes the place of its isa, which nothing reads.
struct Variable {
  std::atomic<long> references;
  Variable* forwarding;
  int flags, size;
  void (*keep)(Variable* to, Variable* from);
  void (*destroy)(Variable* variable);
};

Variable* to_heap(Variable* variable) {
  Variable* const current = variable->forwarding;
  if (current->flags & kNeedsFree) {
    ++current->references;
    return current;
  }
  auto* copy = static_cast<Variable*>(std::malloc(variable->size));
  std::memcpy(static_cast<void*>(copy), variable, variable->size);
  copy->references = 2;  // the stack's and the block's
  copy->flags |= kNeedsFree;
  copy->forwarding = variable->forwarding = copy;
  if (variable->flags & kHasHelpers) copy->keep(copy, variable);
  return copy;
}

void drop(Variable* variable) {
  Variable* const current = variable->forwarding;
  if (!(current->flags & kNeedsFree) || --current->references != 0) return;
  if (current->flags & kHasHelpers) current->destroy(current);
  std::free(current);
}

}  // namespace

extern "C" {

void* _Block_copy(const void* source) {
  auto* block = static_cast<Block*>(const_cast<void*>(source));
  if (!block || block->flags & kGlobal) return block;
  if (block->isa == _NSConcreteMallocBlock) {
    __atomic_add_fetch(&block->references, 1, __ATOMIC_RELAXED);
    return block;
  }
  auto* copy = static_cast<Block*>(std::malloc(block->descriptor->size));
  std::memcpy(copy, block, block->descriptor->size);
  copy->isa = _NSConcreteMallocBlock;
  copy->references = 1;
  if (copy->flags & kHasHelpers) copy->descriptor->copy(copy, block);
  count_live("block", 1);
  return copy;
}

void _Block_release(const void* source) {
  auto* block = static_cast<Block*>(const_cast<void*>(source));
  if (!block || block->isa != _NSConcreteMallocBlock) return;
  if (__atomic_sub_fetch(&block->references, 1, __ATOMIC_ACQ_REL) != 0) return;
  if (block->flags & kHasHelpers) block->descriptor->dispose(block);
  count_live("block", -1);
  std::free(block);
}

void _Block_object_assign(void* place, const void* captured, int field) {
  auto* value = const_cast<void*>(captured);
  if (!(field & kCalledByVariable)) {
    if (field & kVariable) value = to_heap(static_cast<Variable*>(value));
    else if ((field & kBlock) == kBlock) value = _Block_copy(value);
    else if ((field & kBlock) == kObject) value = objc_retain(static_cast<Object*>(value));
  }
  *static_cast<void**>(place) = value;
}

void _Block_object_dispose(const void* captured, int field) {
  auto* value = const_cast<void*>(captured);
  if (field & kCalledByVariable) return;
  if (field & kVariable) drop(static_cast<Variable*>(value));
  else if ((field & kBlock) == kBlock) _Block_release(value);
  else if ((field & kBlock) == kObject) objc_release(static_cast<Object*>(value));
}
}
