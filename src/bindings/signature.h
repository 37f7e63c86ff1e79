// Binds the arguments of a launch: the ordinary ones at once, all others by asking Python.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

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

 private:
  bool is_tensor(PyObject* argument) const;

  const std::vector<QuickParameter> parameters_;
  const pybind11::tuple tensor_types_;
  const pybind11::function resolve_;
};

void bind_signature(pybind11::module_& module);

}  // namespace metalgen
