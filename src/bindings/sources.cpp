// Reads launch arguments without allocating; the kernel then runs with the GIL released.
#include "bindings/sources.h"

#include <string>

#include "errors.h"

namespace py = pybind11;

namespace metalgen {
namespace {

std::uintptr_t address_of(PyObject* object) {
  const std::size_t address = PyLong_AsSize_t(object);
  if (address == static_cast<std::size_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return address;
}

void check_slots(std::size_t index, const char* kind) {
  if (index >= kMaxBuffers)
    throw LaunchError(std::string(kind) + " index " + std::to_string(index) + " is beyond " +
                      std::to_string(kMaxBuffers - 1));
}

Few<Binding> bindings_of(const py::tuple& sources) {
  Few<Binding> bindings;
  // The items outlive the dispatch: the caller holds the tuple.
  PyObject* const items = sources.ptr();
  const Py_ssize_t count = PyTuple_GET_SIZE(items);
  if (count > 0) check_slots(static_cast<std::size_t>(count) - 1, "buffer");
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* const source = PyTuple_GET_ITEM(items, i);
    if (source != Py_None) bindings.add(binding_of(static_cast<std::uint32_t>(i), source));
  }
  return bindings;
}

}  // namespace

Binding binding_of(std::uint32_t index, PyObject* source) {
  if (PyLong_Check(source)) return {index, BoundMemory{address_of(source), 0}};
  if (PyBytes_Check(source)) {
    const auto* data = reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(source));
    return {index, std::span(data, static_cast<std::size_t>(PyBytes_GET_SIZE(source)))};
  }
  if (PyTuple_Check(source) && PyTuple_GET_SIZE(source) == 2)
    return {index, BoundMemory{address_of(PyTuple_GET_ITEM(source, 0)),
                               address_of(PyTuple_GET_ITEM(source, 1))}};
  throw LaunchError("buffer " + std::to_string(index) + " is given a " +
                    Py_TYPE(source)->tp_name + ", expected an int, a pair of ints or bytes");
}

Few<ThreadgroupMemory> memory_of(const py::tuple& pairs) {
  Few<ThreadgroupMemory> memory;
  if (pairs.size() > kMaxBuffers) check_slots(pairs.size() - 1, "threadgroup memory");
  for (const py::handle pair : pairs) {
    const auto [index, bytes] = pair.cast<std::pair<std::uint32_t, std::uint32_t>>();
    check_slots(index, "threadgroup memory");
    memory.add({index, bytes});
  }
  return memory;
}

void dispatch_sources(Pipeline& pipeline, const py::tuple& sources, const Geometry& geometry,
                      const py::tuple& threadgroup_memory) {
  const Few<Binding> bindings = bindings_of(sources);
  const Few<ThreadgroupMemory> memory = memory_of(threadgroup_memory);
  const py::gil_scoped_release released;
  pipeline.dispatch({bindings.span(), memory.span(), geometry});
}

}  // namespace metalgen
