// Binds the arguments of a launch: the ordinary ones at once, all others by asking Python.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "bindings/sources.h"
#include "device.h"

namespace metalgen {

// One buffer parameter as the quick path needs to know it.
struct QuickParameter {
  std::uint32_t index;         // [[buffer(index)]]
  pybind11::frozenset dtypes;  // of tensors that fit
  std::uintptr_t misalignment;  // address bits that must be zero
  char number;                 // how numbers are packed, in struct's letters; 0: ask
  bool tensors;                // whether tensors on the cpu may be bound without asking
};

// Room for one packed number.
using Packed = std::array<std::byte, 8>;

// Arguments as they are bound; the bindings point into the rest, so it stays where it is.
struct Arguments {
  Arguments() = default;
  Arguments(const Arguments&) = delete;

  Few<Binding> bindings;
  std::array<Packed, kMaxBuffers> numbers;
  std::array<pybind11::object, kMaxBuffers> resolved;  // keeps what Python made alive
};

// A dispatch with all that it needs, until it runs together with others.
struct ReadyLaunch {
  std::shared_ptr<Pipeline> pipeline;
  Geometry geometry;
  Few<ThreadgroupMemory> memory;
  pybind11::tuple given;  // keeps tensors alive
  Arguments arguments;
};

// Runs launches in one encoder of their device; waits[i] as in Launch.
void run_launches(Device& device, const std::vector<ReadyLaunch*>& launches,
                  const std::vector<bool>& waits);

// The buffer parameters of a kernel. What the quick path does not know, wrong arguments included,
// goes to `resolve(position, argument, device, casts)`, which returns a source as dispatch_sources
// takes them or raises.
class Signature {
 public:
  Signature(std::vector<QuickParameter> parameters, pybind11::tuple tensor_types,
            pybind11::function resolve);

  // Dispatches with one argument for each parameter.
  void dispatch(Pipeline& pipeline, const pybind11::tuple& arguments, const pybind11::str& device,
                const pybind11::object& casts, const Geometry& geometry,
                const pybind11::tuple& threadgroup_memory) const;

  // The same dispatch made ready for `run_launches`.
  std::unique_ptr<ReadyLaunch> launch(std::shared_ptr<Pipeline> pipeline,
                                      pybind11::tuple arguments, const pybind11::str& device,
                                      const pybind11::object& casts, const Geometry& geometry,
                                      const pybind11::tuple& threadgroup_memory) const;

 private:
  void bind(Arguments& bound, const pybind11::tuple& arguments, const pybind11::str& device,
            const pybind11::object& casts) const;
  bool is_tensor(PyObject* argument) const;

  const std::vector<QuickParameter> parameters_;
  const pybind11::tuple tensor_types_;
  const pybind11::function resolve_;
};

void bind_signature(pybind11::module_& module);

}  // namespace metalgen
