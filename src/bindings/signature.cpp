// Reads cpu tensors through their Python attributes: some 50 ns each, and no torch headers.
#include "bindings/signature.h"

#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "errors.h"

namespace py = pybind11;

namespace metalgen {
namespace {

// Names of tensor attributes, made once and never freed: the interpreter may go first.
struct Names {
  PyObject* dtype = PyUnicode_InternFromString("dtype");
  PyObject* is_cpu = PyUnicode_InternFromString("is_cpu");
  PyObject* is_contiguous = PyUnicode_InternFromString("is_contiguous");
  PyObject* is_neg = PyUnicode_InternFromString("is_neg");
  PyObject* is_conj = PyUnicode_InternFromString("is_conj");
  PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
};

const Names& names() {
  static const Names names;
  return names;
}

// New reference or, with Python's error cleared, null: the slow path will say what is wrong.
py::object or_nothing(PyObject* result) {
  if (!result) PyErr_Clear();
  return py::reinterpret_steal<py::object>(result);
}

py::object attribute(PyObject* object, PyObject* name) {
  return or_nothing(PyObject_GetAttr(object, name));
}

py::object call(PyObject* object, PyObject* method) {
  return or_nothing(PyObject_CallMethodNoArgs(object, method));
}

// The address of a cpu tensor that needs no second look; 0 otherwise.
std::uintptr_t address_of(PyObject* tensor, const QuickParameter& parameter) {
  const py::object dtype = attribute(tensor, names().dtype);
  if (!dtype || PySet_Contains(parameter.dtypes.ptr(), dtype.ptr()) != 1) return 0;
  if (attribute(tensor, names().is_cpu).ptr() != Py_True) return 0;
  if (call(tensor, names().is_contiguous).ptr() != Py_True) return 0;
  if (call(tensor, names().is_neg).ptr() != Py_False) return 0;
  if (call(tensor, names().is_conj).ptr() != Py_False) return 0;
  const py::object address = call(tensor, names().data_ptr);
  if (!address) return 0;
  const std::size_t value = PyLong_AsSize_t(address.ptr());
  if (PyErr_Occurred()) PyErr_Clear();
  return value == static_cast<std::size_t>(-1) || value & parameter.misalignment ? 0 : value;
}

template <typename Number>
std::size_t store(Packed& packed, Number number) {
  std::memcpy(packed.data(), &number, sizeof number);
  return sizeof number;
}

template <typename Integer>
std::size_t pack_integer(Packed& packed, PyObject* number) {
  if (!PyLong_CheckExact(number)) return 0;
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
  if (overflow || !std::in_range<Integer>(value)) return 0;
  return store(packed, static_cast<Integer>(value));
}

std::size_t pack_float(Packed& packed, PyObject* number) {
  if (!PyFloat_CheckExact(number)) return 0;
  const double value = PyFloat_AS_DOUBLE(number);
  if (std::isfinite(value) && std::abs(value) > std::numeric_limits<float>::max()) return 0;
  return store(packed, static_cast<float>(value));
}

// Packs an int or float that plainly fits; returns its bytes, 0 if it needs a second look.
std::size_t pack(Packed& packed, char type, PyObject* number) {
  switch (type) {
    case 'f': return pack_float(packed, number);
    case 'b': return pack_integer<std::int8_t>(packed, number);
    case 'B': return pack_integer<std::uint8_t>(packed, number);
    case 'h': return pack_integer<std::int16_t>(packed, number);
    case 'H': return pack_integer<std::uint16_t>(packed, number);
    case 'i': return pack_integer<std::int32_t>(packed, number);
    case 'I': return pack_integer<std::uint32_t>(packed, number);
    case 'q': return pack_integer<std::int64_t>(packed, number);
    case 'Q': return pack_integer<std::uint64_t>(packed, number);
    default: return 0;
  }
}

}  // namespace

Signature::Signature(std::vector<QuickParameter> parameters, py::tuple tensor_types,
                     py::function resolve)
    : parameters_(std::move(parameters)),
      tensor_types_(std::move(tensor_types)),
      resolve_(std::move(resolve)) {
  if (parameters_.size() > kMaxBuffers) throw py::value_error("more parameters than buffers");
}

bool Signature::is_tensor(PyObject* argument) const {
  for (const py::handle type : tensor_types_)
    if (type.ptr() == reinterpret_cast<PyObject*>(Py_TYPE(argument))) return true;
  return false;
}

void Signature::bind(Arguments& bound, const py::tuple& arguments, const py::str& device,
                     const py::object& casts) const {
  if (arguments.size() != parameters_.size()) throw py::value_error("wrong number of arguments");
  const bool plain = casts.is_none() && PyUnicode_CompareWithASCIIString(device.ptr(), "cpu") == 0;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const QuickParameter& parameter = parameters_[i];
    PyObject* const argument = PyTuple_GET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i));
    if (plain && parameter.tensors && is_tensor(argument)) {
      if (const std::uintptr_t address = address_of(argument, parameter)) {
        bound.bindings.add({parameter.index, BoundMemory{address, 0}});
        continue;
      }
    } else if (const std::size_t bytes =
                   plain ? pack(bound.numbers[i], parameter.number, argument) : 0) {
      bound.bindings.add(
          {parameter.index, std::span<const std::byte>(bound.numbers[i].data(), bytes)});
      continue;
    }
    bound.resolved[i] = resolve_(i, py::handle(argument), device, casts);
    if (!bound.resolved[i].is_none())
      bound.bindings.add(binding_of(parameter.index, bound.resolved[i].ptr()));
  }
}

void Signature::dispatch(Pipeline& pipeline, const py::tuple& arguments, const py::str& device,
                         const py::object& casts, const Geometry& geometry,
                         const py::tuple& threadgroup_memory) const {
  Arguments bound;
  bind(bound, arguments, device, casts);
  const Few<ThreadgroupMemory> memory = memory_of(threadgroup_memory);
  const py::gil_scoped_release released;
  pipeline.dispatch({bound.bindings.span(), memory.span(), geometry});
}

std::unique_ptr<ReadyLaunch> Signature::launch(std::shared_ptr<Pipeline> pipeline,
                                               py::tuple arguments, const py::str& device,
                                               const py::object& casts, const Geometry& geometry,
                                               const py::tuple& threadgroup_memory) const {
  auto ready = std::make_unique<ReadyLaunch>(std::move(pipeline), geometry,
                                             memory_of(threadgroup_memory), std::move(arguments));
  bind(ready->arguments, ready->given, device, casts);
  return ready;
}

void run_launches(Device& device, const std::vector<ReadyLaunch*>& launches,
                  const std::vector<bool>& waits) {
  if (waits.size() != launches.size()) throw py::value_error("expected one flag for each launch");
  std::vector<Launch> listed;
  listed.reserve(launches.size());
  for (std::size_t i = 0; i < launches.size(); ++i) {
    const ReadyLaunch& ready = *launches[i];
    const Dispatch dispatch{ready.arguments.bindings.span(), ready.memory.span(), ready.geometry};
    listed.push_back({ready.pipeline.get(), dispatch, waits[i]});
  }
  const py::gil_scoped_release released;
  device.run(listed);
}

void bind_signature(py::module_& module) {
  py::class_<QuickParameter>(module, "QuickParameter")
      .def(py::init<std::uint32_t, py::frozenset, std::uintptr_t, char, bool>(), py::kw_only(),
           py::arg("index"), py::arg("dtypes"), py::arg("misalignment"), py::arg("number"),
           py::arg("tensors"));
  py::class_<Signature>(module, "Signature")
      .def(py::init<std::vector<QuickParameter>, py::tuple, py::function>(), py::arg("parameters"),
           py::arg("tensor_types"), py::arg("resolve"))
      .def("dispatch", &Signature::dispatch, py::arg("pipeline"), py::arg("arguments"),
           py::arg("device"), py::arg("casts"), py::arg("geometry"),
           py::arg("threadgroup_memory"))
      .def("launch", &Signature::launch, py::arg("pipeline"), py::arg("arguments"),
           py::arg("device"), py::arg("casts"), py::arg("geometry"),
           py::arg("threadgroup_memory"));
  py::class_<ReadyLaunch>(module, "Launch");
}

}  // namespace metalgen
