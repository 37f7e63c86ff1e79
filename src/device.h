// What every device offers, real or software: memory, libraries, pipelines, dispatch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "geometry.h"

namespace metalgen {

struct Threadgroup;

inline constexpr std::uint32_t kMaxBuffers = 31;  // [[buffer(0)]] to [[buffer(30)]]
inline constexpr std::uint32_t kSimdWidth = 32;

// Memory of a device. `handle` is what a binding names: the address on the software device, the
// MTLBuffer on Apple's.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual std::uintptr_t handle() const = 0;
  virtual std::span<std::byte> bytes() const = 0;
};

// Device memory bound to [[buffer(index)]].
struct BoundMemory {
  std::uintptr_t handle;
  std::size_t offset;
};

// What a kernel finds at [[buffer(index)]]: memory of its device, or a copy of a few host bytes.
struct Binding {
  std::uint32_t index;
  std::variant<BoundMemory, std::span<const std::byte>> source;
};

// Dynamic threadgroup memory bound to [[threadgroup(index)]].
struct ThreadgroupMemory {
  std::uint32_t index;
  std::uint32_t bytes;
};

// The arguments and the shape of one dispatch.
struct Dispatch {
  std::span<const Binding> bindings;
  std::span<const ThreadgroupMemory> threadgroup_memory;
  Geometry geometry;
};

using Scalar = std::variant<bool, std::int64_t, std::uint64_t, double>;

// The value of a function constant; `type_name` is Metal's, as the library declares it. A vector
// has several components, a scalar is one.
struct FunctionConstant {
  std::uint32_t index;
  std::string type_name;
  std::vector<Scalar> components;
};

// A kernel with its function constants set, ready to be dispatched from any host thread.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  // Most threads that one threadgroup of this kernel may have.
  virtual std::uint32_t max_total_threads() const = 0;

  // Runs or enqueues the kernel. Software: has finished on return. Apple: in the order of torch's
  // stream; `bindings` must stay valid until the stream gets there, as for torch's own operators.
  virtual void dispatch(const Dispatch& dispatch) = 0;
};

// The kernels of one metallib, loaded on one device.
class Library {
 public:
  virtual ~Library() = default;

  // Equal names and constants give the same pipeline, made once.
  virtual std::shared_ptr<Pipeline> pipeline(std::string_view kernel,
                                             std::vector<FunctionConstant> constants) = 0;
};

// How a threadgroup's lanes may be laid out: kRows promises that every SIMD-group lies in one row,
// kFull moreover that it has 32 threads and starts at a multiple of 32 in the grid.
enum class Variant { kAny, kRows, kFull };
constexpr std::size_t kVariants = 3;

// Host code of one kernel, as the translator made it; `owner` keeps the code alive.
struct NativeCode {
  void (*entry)(Threadgroup*);
  std::size_t threadgroup_bytes;
  bool is_quick;  // quickly made: better code is on its way
  std::shared_ptr<void> owner;
};

// Takes better code for what was translated; may be called later, from any thread, or never.
using Improve = std::function<void(NativeCode)>;

using Translator = std::function<NativeCode(std::string_view kernel,
                                            std::span<const FunctionConstant> constants,
                                            Variant variant, Improve improve)>;

// One dispatch of several that are encoded together.
struct Launch {
  Pipeline* pipeline;
  Dispatch dispatch;
  bool waits;  // uses memory that an earlier one of them writes, or writes what that one uses
};

// When the GPU began and ended, in seconds of a clock of its own.
struct Interval {
  double start;
  double end;
};

// One device that runs Metal kernels. Whatever it creates must be destroyed before it.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;

  // What its GPU can do, in Metal's words ("Apple8, Metal 3").
  virtual std::string family() const = 0;

  // Shares `bytes` of the caller's memory without copying; the caller keeps it alive.
  virtual std::unique_ptr<Buffer> wrap(std::span<std::byte> bytes) = 0;

  // Zero-filled memory of the device.
  virtual std::unique_ptr<Buffer> allocate(std::size_t bytes) = 0;

  // Apple's device reads `metallib`; the software device asks `translator` for host code instead,
  // at most once for each kernel, constants and variant.
  virtual std::shared_ptr<Library> load(std::span<const std::byte> metallib,
                                        Translator translator) = 0;

  // Runs or enqueues all of `launches` in one encoder; those that do not wait may overlap.
  virtual void run(std::span<const Launch> launches) = 0;

  // Waits until everything dispatched has finished; throws LaunchError with what the GPU reports.
  virtual void synchronize() = 0;

  // How long the GPU works on what `work` dispatches, nothing else being under way. Of work that
  // torch commits in parts, the last part.
  virtual Interval time(const std::function<void()>& work) = 0;
};

}  // namespace metalgen
